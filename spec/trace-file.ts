/**
 * The file behind a `trace` workload: one line for each page write, "time-ms page", in the order of time;
 * empty lines and what follows a # are passed over. Becomes the bytes that travel in the guest's spec.
 */

import { readFileSync, statSync } from 'node:fs';
import { errorText } from '../proto/errors.ts';
import { TRACE_ENTRY_BYTES } from '../workloads/trace.ts';
import { WORKLOAD_LIMITS } from '../workloads/workload-problems.ts';

export const TRACE_LIMITS = {
  fileBytesMax: 64 * 1024 * 1024,
  /** Microseconds travel as uint32. */
  timeUsMax: 2 ** 32 - 1,
} as const;

const PROBLEMS_MAX = 10;
const LINE = /^(\d+(?:\.\d+)?)\s+(\d+)$/;

export interface Trace {
  /** Pairs of little-endian uint32: microseconds since the start, page. */
  readonly bytes: Buffer;
  /** At most ten sentences, each with its line; `bytes` is of no use when there are any. */
  readonly problems: readonly string[];
}

/** Reads a trace for a guest with that many pages. */
export function readTraceFile(path: string, pageCount: number): Trace {
  try {
    const fileBytes = statSync(path).size;
    if (fileBytes > TRACE_LIMITS.fileBytesMax) {
      return failed(
        `found ${fileBytes} bytes; allowed is a file of at most ${TRACE_LIMITS.fileBytesMax} bytes`,
      );
    }
    return parseTrace(readFileSync(path, 'utf8'), pageCount);
  } catch (error) {
    return failed(`cannot read it: ${errorText(error)}`);
  }
}

export function parseTrace(text: string, pageCount: number): Trace {
  const problems: string[] = [];
  const lines = text.split('\n');
  const bytes = Buffer.alloc(Math.min(lines.length, WORKLOAD_LIMITS.traceEntriesMax) * TRACE_ENTRY_BYTES);
  let length = 0;
  let lastUs = 0;
  for (const [index, line] of lines.entries()) {
    const content = line.replace(/#.*/, '').trim();
    if (content === '') continue;
    if (length === WORKLOAD_LIMITS.traceEntriesMax * TRACE_ENTRY_BYTES) {
      problems.push(
        `found more than ${WORKLOAD_LIMITS.traceEntriesMax} writes; allowed are no more than that`,
      );
      break;
    }
    const entry = parseLine(content, lastUs, pageCount);
    if (typeof entry === 'string') {
      if (problems.push(`line ${index + 1}: ${entry}`) === PROBLEMS_MAX) break;
      continue;
    }
    bytes.writeUInt32LE(entry.us, length);
    bytes.writeUInt32LE(entry.page, length + 4);
    length += TRACE_ENTRY_BYTES;
    lastUs = entry.us;
  }
  if (length === 0 && problems.length === 0)
    problems.push('found no page write; allowed are lines "time-ms page"');
  return { bytes: bytes.subarray(0, length), problems };
}

function parseLine(
  content: string,
  lastUs: number,
  pageCount: number,
): { us: number; page: number } | string {
  const match = LINE.exec(content);
  if (match === null) {
    return `found ${JSON.stringify(content.slice(0, 60))}; allowed is "time-ms page" such as 12.5 4096`;
  }
  const us = Math.round(Number(match[1]) * 1000);
  const page = Number(match[2]);
  if (us > TRACE_LIMITS.timeUsMax) return `found the time ${match[1]} ms; allowed is at most 4294967.295 ms`;
  if (us < lastUs)
    return `found the time ${match[1]} ms after ${lastUs / 1000} ms; allowed are times that never fall`;
  if (page >= pageCount)
    return `found page ${match[2]}; allowed are the guest's pages, 0 to ${pageCount - 1}`;
  return { us, page };
}

function failed(problem: string): Trace {
  return { bytes: Buffer.alloc(0), problems: [problem] };
}
