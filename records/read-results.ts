/**
 * Opens a results.json of this version, of an older or of a newer one. The form has only ever grown: what an older
 * file does not have is null, as if the trial had not lived to see it, and what a newer one has in addition is
 * left aside. What cannot be understood in this way names the version that can.
 */
import type { z } from 'zod';
import { type ResultRecord, resultRecordSchema } from './result-record.ts';

/** A study of 1,000 trials is about 40 MB. */
export const RESULTS_BYTES_MAX = 400 * 1024 * 1024;
const PROBLEMS_SHOWN_MAX = 3;

/** The file is not results.json, or of a version whose form differs too much. The message is for people. */
export class ResultsError extends Error {
  override readonly name = 'ResultsError';
}

export interface OpenedResults {
  readonly record: ResultRecord;
  /** What this version does not know and was left aside, such as trials.vcpu_steal_ms. */
  readonly unknown: readonly string[];
  /** What the file's version did not have yet, and is taken for null. */
  readonly missing: readonly string[];
}

type Place = { readonly holder: Record<PropertyKey, unknown>; readonly key: PropertyKey };

/**
 * @param text what the file holds.
 * @param file what it is called in errors.
 * @param version the one that reads.
 * @throws ResultsError
 */
export function readResults(text: string, file: string, version: string): OpenedResults {
  const value = parseJson(text, file);
  const first = resultRecordSchema.safeParse(value);
  if (first.success) return { record: first.data, unknown: [], missing: [] };
  const unknown = new Set<string>();
  const missing = new Set<string>();
  for (const issue of first.error.issues) {
    if (issue.code === 'unrecognized_keys') {
      const holder = valueAt(value, issue.path);
      for (const key of issue.keys) {
        unknown.add(nameOf([...issue.path, key]));
        if (isRecord(holder)) delete holder[key];
      }
    } else if (issue.code === 'invalid_type') {
      const place = placeOf(value, issue.path);
      if (place === undefined || place.key in place.holder) continue;
      missing.add(nameOf(issue.path));
      place.holder[place.key] = null;
    }
  }
  const second = resultRecordSchema.safeParse(value);
  if (second.success) return { record: second.data, unknown: [...unknown], missing: [...missing] };
  throw new ResultsError(problemText(value, file, version, second.error.issues));
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ResultsError(`${file} is not JSON: ${why}; give the results.json that \`godwit run\` wrote`);
  }
}

function problemText(
  value: unknown,
  file: string,
  version: string,
  issues: readonly z.core.$ZodIssue[],
): string {
  const shown = issues
    .slice(0, PROBLEMS_SHOWN_MAX)
    .map(({ path, message }) => `${path.join('.')}: ${message}`);
  const more = issues.length > shown.length ? [`and ${issues.length - shown.length} more`] : [];
  const written = isRecord(value) ? value.godwit_version : undefined;
  const problems = [...shown, ...more].join('; ');
  if (typeof written !== 'string') {
    return `${file} holds no results of godwit (${problems}); give the results.json that \`godwit run\` wrote`;
  }
  return `cannot read ${file} (${problems}): it needs godwit ${written}, which wrote it; this is ${version}`;
}

/** A path without the numbers of trials and rounds: the same thing is missing in all of them. */
function nameOf(path: readonly PropertyKey[]): string {
  return path.filter((part) => typeof part !== 'number').join('.');
}

function placeOf(value: unknown, path: readonly PropertyKey[]): Place | undefined {
  const holder = valueAt(value, path.slice(0, -1));
  const key = path.at(-1);
  return key === undefined || !isRecord(holder) ? undefined : { holder, key };
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value;
  for (const part of path) {
    if (!isRecord(at) || !Object.hasOwn(at, part)) return undefined;
    at = at[part];
  }
  return at;
}

function isRecord(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === 'object' && value !== null;
}
