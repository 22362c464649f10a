/**
 * The file behind a link's `trace`: one line for each change, "time-ms rate", in the order of time, the rate
 * with a unit; empty lines and what follows a # are passed over.
 */

import { readFileSync, statSync } from 'node:fs';
import { errorText } from '../proto/errors.ts';
import { NETWORK_LIMITS } from '../proto/network-shape.ts';
import { NETWORK_SECTION_LIMITS } from './network-sections.ts';
import { bandwidth } from './units.ts';

export const RATE_TRACE_LIMITS = { fileBytesMax: 1024 * 1024, pointsMax: 10_000 } as const;

const PROBLEMS_MAX = 10;
const LINE = /^(\d+(?:\.\d+)?)\s+(\S.*)$/;

export interface RatePoint {
  /** Since the migration's start. */
  readonly atMs: number;
  /** 0 is unlimited. */
  readonly rateBytesPerS: number;
}

export interface RateTrace {
  readonly points: readonly RatePoint[];
  /** At most ten sentences, each with its line; `points` is of no use when there are any. */
  readonly problems: readonly string[];
}

export function readRateTrace(path: string): RateTrace {
  try {
    const { size } = statSync(path);
    const { fileBytesMax } = RATE_TRACE_LIMITS;
    if (size > fileBytesMax) {
      return {
        points: [],
        problems: [`found ${size} bytes; allowed is a file of at most ${fileBytesMax} bytes`],
      };
    }
    return parseRateTrace(readFileSync(path, 'utf8'));
  } catch (error) {
    return { points: [], problems: [`cannot read it: ${errorText(error)}`] };
  }
}

export function parseRateTrace(text: string): RateTrace {
  const points: RatePoint[] = [];
  const problems: string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const content = line.replace(/#.*/, '').trim();
    if (content === '') continue;
    const point = parseLine(content, points.at(-1)?.atMs ?? 0);
    if (typeof point !== 'string') points.push(point);
    else problems.push(`line ${index + 1}: ${point}`);
    if (problems.length === PROBLEMS_MAX) break;
    if (points.length > RATE_TRACE_LIMITS.pointsMax) {
      problems.push(`found more than ${RATE_TRACE_LIMITS.pointsMax} rates; allowed are no more than that`);
      break;
    }
  }
  if (points.length === 0 && problems.length === 0) {
    problems.push('found no rate; allowed are lines "time-ms rate" such as 1500 200mbit');
  }
  return { points, problems };
}

function parseLine(content: string, lastMs: number): RatePoint | string {
  const match = LINE.exec(content);
  const rateBytesPerS = match === null ? undefined : bandwidth.parse(match[2]!);
  if (match === null || rateBytesPerS === undefined) {
    return `found ${JSON.stringify(content.slice(0, 60))}; allowed is "time-ms rate" such as 1500 200mbit`;
  }
  const atMs = Number(match[1]);
  const { rateBytesPerSMin, rateBytesPerSMax } = NETWORK_LIMITS;
  if (rateBytesPerS !== 0 && !(rateBytesPerS >= rateBytesPerSMin && rateBytesPerS <= rateBytesPerSMax)) {
    const allowed = `${bandwidth.format(rateBytesPerSMin)} to ${bandwidth.format(rateBytesPerSMax)}`;
    return `found the rate ${match[2]}; allowed is ${allowed}, or unlimited`;
  }
  if (atMs < lastMs) return `found the time ${atMs} ms after ${lastMs} ms; allowed are times that never fall`;
  const { atMsMax } = NETWORK_SECTION_LIMITS;
  return atMs <= atMsMax
    ? { atMs, rateBytesPerS }
    : `found the time ${atMs} ms; allowed is at most ${atMsMax} ms`;
}
