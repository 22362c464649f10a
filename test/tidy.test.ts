/**
 * The house rules that no linter knows, held against every source file: size, names, head comments, and
 * which part may import which. Each failure names file and line.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
// The formatter breaks code at 110; a comment may be a little longer.
const columnsMax = 120;
const linesMax = 600;

/** What each part may import besides itself: a folder with `/` at its end, or one file. */
const importsAllowed: Readonly<Record<string, readonly string[]>> = {
  proto: [],
  records: ['proto/'],
  workloads: [
    'proto/generated/godwit/v1/guest.ts',
    'proto/guest-request.ts',
    'proto/guest-spec.ts',
    'proto/names.ts',
    'proto/page.ts',
    'proto/rate-unit.ts',
  ],
  spec: ['proto/', 'workloads/'],
  hosts: ['proto/', 'workloads/'],
  predict: ['proto/'],
  coordinator: ['proto/', 'predict/'],
  fabric: ['proto/'],
  clients: ['proto/'],
  statistics: ['workloads/random.ts'],
  report: [
    'proto/',
    'records/',
    'spec/units.ts',
    'statistics/',
    'cli/render/measures.ts',
    'cli/render/variant-text.ts',
  ],
  experiment: ['proto/', 'records/', 'spec/', 'fabric/child-process.ts', 'fabric/fabric.ts'],
};

/** The folders that may import everything. */
const freeParts = ['bench', 'cli', 'docker', 'scripts', 'test'];

/** The folders without code of their own. */
const otherFolders = ['.ci', 'docs', 'experiments'];

type SourceFile = { readonly path: string; readonly lines: readonly string[] };
type Import = { readonly from: string; readonly to: string; readonly lineIndex: number };

/** The paths of all files below a folder, from the repository's top, with `/` between the names. */
function pathsBelow(folder: string): string[] {
  const top = join(root, folder);
  if (!existsSync(top)) return [];
  return readdirSync(top, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll(sep, '/'))
    .filter((path) => !path.startsWith('proto/generated/') && !path.includes('node_modules/'));
}

const topFiles = readdirSync(root, { withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name !== 'package-lock.json')
  .map((entry) => entry.name);
const folders = [...Object.keys(importsAllowed), ...freeParts, ...otherFolders];
const paths = [...topFiles, ...folders.flatMap(pathsBelow)].sort();
const texts: readonly SourceFile[] = paths
  .filter((path) => /\.(ts|mjs|proto|md|json|ya?ml)$|^\.ci\//.test(path))
  .map((path) => ({ path, lines: readFileSync(join(root, path), 'utf8').split('\n') }));
const code = texts.filter(({ path }) => /\.(ts|mjs|proto)$/.test(path));
const scripts = texts.filter(({ path }) => /\.(ts|mjs)$/.test(path));

/** The part that a file belongs to: its top folder. */
function partOf(path: string): string {
  return path.split('/')[0] ?? '';
}

/** `file:line  text` for each line that breaks a rule. */
function linesThat(breakRule: (line: string) => boolean, files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, lines }) =>
    lines.flatMap((line, index) => (breakRule(line) ? [`${path}:${index + 1}  ${line.trim()}`] : [])),
  );
}

/** A line without its comment, as far as that can be told from the line alone. */
function withoutComment(line: string): string {
  return /^\s*(\/?\*|\/\/)/.test(line) ? '' : line.replace(/\s\/\/.*$/, '');
}

/** The imports of one file that lead to other files of the repository, types included. */
function importsOf({ path, lines }: SourceFile): Import[] {
  return lines.flatMap((line, lineIndex) =>
    [...withoutComment(line).matchAll(/\b(?:from|import)\s*\(?\s*'(\.{1,2}\/[^']+)'/g)].map((match) => ({
      from: path,
      to: posix.join(posix.dirname(path), match[1] ?? ''),
      lineIndex,
    })),
  );
}

const imports = scripts.flatMap(importsOf);

/** The first circle of imports that can be reached from a file, as its files in order, or undefined. */
function circleFrom(
  start: string,
  targetsByFile: ReadonlyMap<string, readonly string[]>,
): string[] | undefined {
  const finished = new Set<string>();
  const visit = (file: string, trail: readonly string[]): string[] | undefined => {
    if (trail.includes(file)) return [...trail.slice(trail.indexOf(file)), file];
    if (finished.has(file)) return undefined;
    for (const target of targetsByFile.get(file) ?? []) {
      const circle = visit(target, [...trail, file]);
      if (circle !== undefined) return circle;
    }
    finished.add(file);
    return undefined;
  };
  return visit(start, []);
}

describe('every file', () => {
  test(`has no line of more than ${columnsMax} columns`, () => {
    // Not the contracts: buf writes each rpc on one line, however long its names are.
    expect(linesThat((line) => line.length > columnsMax, scripts)).toEqual([]);
  });

  test(`has at most ${linesMax} lines`, () => {
    const tooLong = code.filter(({ lines }) => lines.length - 1 > linesMax);
    expect(tooLong.map(({ path, lines }) => `${path}:${lines.length - 1}  split it`)).toEqual([]);
  });

  test('has a name in kebab-case, and a contract one in snake_case as buf asks', () => {
    const word = '[a-z0-9]+';
    const kebab = new RegExp(`^\\.?${word}([-.]${word})*$`);
    const snake = new RegExp(`^${word}(_${word})*\\.proto$`);
    const isGood = (name: string): boolean => name === 'README.md' || kebab.test(name) || snake.test(name);
    const inFolders = paths.filter((path) => path.includes('/'));
    expect(inFolders.filter((path) => !path.split('/').every(isGood))).toEqual([]);
  });

  test('of code begins with a comment that says what it is for', () => {
    const headless = scripts.filter(({ lines }) => {
      const first = lines[0]?.startsWith('#!') ? lines[1] : lines[0];
      return first === undefined || !/^\/[*/]/.test(first);
    });
    expect(headless.map(({ path }) => `${path}:1`)).toEqual([]);
  });

  test('is finished: it holds no note of work to be done', () => {
    const note = new RegExp(`\\b(${['FIX' + 'ME', 'TO' + 'DO', 'X' + 'XX'].join('|')})\\b`);
    expect(linesThat((line) => note.test(line), texts)).toEqual([]);
  });

  test("names no folder of one machine; take os.tmpdir(), import.meta.url or a path of the user's", () => {
    const machine = new RegExp(`(^|[\\s'"\`(=:])/(${['work', 'home', 'root', 'tmp', 'Users'].join('|')})/`);
    expect(linesThat((line) => machine.test(line), texts)).toEqual([]);
  });
});

describe('code', () => {
  test('calls console.log only in cli, scripts, bench and .ci: return it, or report an event', () => {
    const printing = ['cli', 'scripts', 'bench', '.ci'];
    const quiet = scripts.filter(({ path }) => !printing.includes(partOf(path)));
    const call = /\bconsole\.log\s*\(/;
    expect(linesThat((line) => call.test(withoutComment(line)), quiet)).toEqual([]);
  });

  test('has no enum; write `const X = {...} as const` and a union type', () => {
    const declaration = /^\s*(export\s+)?(declare\s+)?(const\s+)?enum\s+\w/;
    expect(linesThat((line) => declaration.test(line), scripts)).toEqual([]);
  });

  test('has no any; write unknown and narrow it', () => {
    const use = /([:<|&,]|=>|\bas)\s*any\s*([;,)>=|&[\]{}]|$)/;
    expect(linesThat((line) => use.test(withoutComment(line)), scripts)).toEqual([]);
  });
});

describe('imports', () => {
  test('follow the arrows between the parts', () => {
    const against = imports.filter(({ from, to }) => {
      const allowed = importsAllowed[partOf(from)];
      if (allowed === undefined || partOf(to) === partOf(from)) return false;
      return !allowed.some((target) => (target.endsWith('/') ? to.startsWith(target) : to === target));
    });
    const describeArrow = ({ from, to, lineIndex }: Import): string =>
      `${from}:${lineIndex + 1}  imports ${to}; ${partOf(from)} may import only ` +
      `${importsAllowed[partOf(from)]?.join(', ') || 'its own files'}`;
    expect(against.map(describeArrow)).toEqual([]);
  });

  test('make no circle', () => {
    const targetsByFile = new Map<string, string[]>();
    for (const { from, to } of imports) targetsByFile.set(from, [...(targetsByFile.get(from) ?? []), to]);
    const circles = [...targetsByFile.keys()].flatMap((file) => {
      const circle = circleFrom(file, targetsByFile);
      return circle === undefined ? [] : [circle];
    });
    // The same circle is found from each of its files and from all that lead to it: one is enough to mend.
    expect(circles[0]?.join(' -> ')).toBeUndefined();
  });

  test('lie in known folders, each with its arrows', () => {
    const known = [...folders, 'node_modules', 'results'];
    const found = readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
      .map((entry) => entry.name);
    expect(found.filter((name) => !known.includes(name))).toEqual([]);
  });
});
