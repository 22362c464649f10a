/** What is wrong with a spec, for people: where, what was found, what is allowed. */

/** The way to a value: keys and indexes from the top. */
export type Path = readonly (string | number)[];

export interface SpecProblem {
  readonly file: string;
  /** Both from 1. */
  readonly line: number;
  readonly column: number;
  /** As `migration.failpoints[0].at`; empty for the file as a whole. */
  readonly path: string;
  /** "found X; allowed is Y". */
  readonly message: string;
}

/** What breaks one of the rules that tie keys together. */
export interface BrokenRule {
  readonly path: Path;
  /** "found X; allowed is Y". */
  readonly message: string;
  /** The other keys on which this depends: when one of them is wrong itself, the rule says nothing. */
  readonly because?: readonly Path[];
  /** Whether the key itself is out of place, and not its value. */
  readonly key?: boolean;
}

/** Thrown for a spec that cannot be used; nothing has been started then. */
export class SpecError extends Error {
  readonly code = 'GODWIT_SPEC';
  readonly problems: readonly SpecProblem[];

  constructor(problems: readonly SpecProblem[]) {
    super(problems.map(problemLine).join('\n'));
    this.name = 'SpecError';
    this.problems = problems;
  }
}

function problemLine({ file, line, column, path, message }: SpecProblem): string {
  return [`${file}:${line}:${column}`, ...(path === '' ? [] : [path]), message].join(': ');
}

export function pathText(path: Path): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`))
    .join('')
    .replace(/^\./, '');
}

const SHOWN_LENGTH_MAX = 60;

/** A found value, short enough for a line. */
export function show(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a mapping';
  const text = typeof value === 'string' ? JSON.stringify(value) : `${value as number | boolean}`;
  return text.length <= SHOWN_LENGTH_MAX ? text : `${text.slice(0, SHOWN_LENGTH_MAX)}...`;
}

/** Whether one of the two ways leads to or through the other's end. */
export function touches(one: Path, other: Path): boolean {
  const length = Math.min(one.length, other.length);
  return one.slice(0, length).every((part, index) => part === other[index]);
}

/** `; did you mean "x"?` for the name that was probably meant, or nothing. */
export function suggestion(found: unknown, names: readonly string[]): string {
  if (typeof found !== 'string' || found.length > SHOWN_LENGTH_MAX) return '';
  const ranked = names
    .map((name) => ({ name, distance: editDistance(found.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  if (best === undefined || best.distance > Math.max(2, best.name.length / 3)) return '';
  return `; did you mean "${best.name}"?`;
}

/** Levenshtein: how many letters must be added, taken away or changed. */
function editDistance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const changed = previous[column - 1]! + (from[row - 1] === to[column - 1] ? 0 : 1);
      current.push(Math.min(changed, previous[column]! + 1, current[column - 1]! + 1));
    }
    previous = current;
  }
  return previous[to.length]!;
}
