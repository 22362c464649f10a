/**
 * A YAML text as data, with the line and column of every value; and everything that is wrong with it as
 * YAML.
 */

import { type Document, isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { type Path, pathText, type SpecProblem } from './problems.ts';
import { SPEC_LIMITS } from './schema.ts';

/** What a position points at: a value, or the key before it. */
export type Part = 'key' | 'value';

/** The parser descends once for each level of nesting. */
const TOO_DEEP = 'found more levels of nesting than can be read; allowed are the few that a spec has';

export interface YamlDocument {
  readonly data: unknown;
  /** Syntax errors; `data` is of no use when there are any. */
  readonly problems: readonly SpecProblem[];
  /** A problem with the value (or key) at a path; one that is missing is reported where it should be. */
  problemAt(path: Path, message: string, part?: Part): SpecProblem;
}

export function parseYaml(text: string, file: string): YamlDocument {
  const lines = new LineCounter();
  const problemOf = (path: Path, offset: number, message: string): SpecProblem => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1), path: pathText(path), message };
  };
  const failed = (message: string): YamlDocument => {
    const problemAt = (path: Path, text: string) => problemOf(path, 0, text);
    return { data: undefined, problems: [problemOf([], 0, message)], problemAt };
  };
  try {
    const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: true });
    const found = [...document.errors, ...document.warnings].slice(0, SPEC_LIMITS.problemsMax);
    if (found.some(({ message }) => message.includes('call stack'))) return failed(TOO_DEEP);
    const problems = found.map(({ pos, message }) => problemOf([], pos[0], `not valid YAML: ${message}`));
    const data: unknown =
      problems.length > 0 ? undefined : document.toJS({ maxAliasCount: SPEC_LIMITS.aliasCountMax });
    return {
      data,
      problems,
      problemAt: (path, message, part = 'value') => problemOf(path, offsetOf(document, path, part), message),
    };
  } catch (error) {
    if (error instanceof RangeError) return failed(TOO_DEEP);
    if (error instanceof ReferenceError) {
      return failed(`${error.message}; values may be repeated ${SPEC_LIMITS.aliasCountMax} times by aliases`);
    }
    throw error;
  }
}

/** Where the deepest part of the path begins that is there. */
function offsetOf(document: Document.Parsed, path: Path, part: Part): number {
  let node: unknown = document.contents;
  let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
  for (const [depth, step] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    let key: unknown;
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === step);
      key = pair?.key;
      node = pair?.value;
    } else {
      node = isSeq(node) && typeof step === 'number' ? node.items[step] : undefined;
    }
    const last = depth === path.length - 1;
    const empty = isScalar(node) && node.value === null && node.source === '';
    const place = isNode(key) && ((last && part === 'key') || !isNode(node) || empty) ? key : node;
    if (!isNode(place) || !place.range) return offset;
    offset = place.range[0];
  }
  return offset;
}
