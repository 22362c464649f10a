/**
 * Reads the runs of pages in the tables of PAGES and CODED frames. Each answers what it has read, or a sentence that
 * says what is wrong; nothing is believed that the channel may not bring.
 */

import { PAGE_BYTES } from '../../proto/page.ts';
import { WIRE_LIMITS } from './limits.ts';
import {
  CODED_HEAD_BYTES,
  type CodedFrame,
  channelOf,
  type PageRun,
  RUN_BYTES,
  RunKind,
  STRIPE_PAGES,
  WireCodec,
} from './wire.ts';

/** Which pages a channel may carry. */
export interface ChannelGeometry {
  readonly pageCount: number;
  readonly channel: number;
  readonly channelCount: number;
}

type Kinds = readonly RunKind[];

/** What PAGES may hold, and what CODED may. */
export const PLAIN_KINDS: Kinds = [RunKind.DATA, RunKind.ZERO];
const CODED_KINDS: Kinds = Object.values(RunKind);
const CODECS: readonly WireCodec[] = Object.values(WireCodec);

/** How many bytes a page of a kind is in a decoded payload, at least and at most. */
const BODY_BYTES: Readonly<Record<RunKind, { readonly min: number; readonly max: number }>> = {
  [RunKind.DATA]: { min: PAGE_BYTES, max: PAGE_BYTES },
  [RunKind.ZERO]: { min: 0, max: 0 },
  [RunKind.COPY]: { min: 4, max: 4 },
  [RunKind.DELTA]: { min: 2, max: PAGE_BYTES },
  [RunKind.DIGEST]: { min: 16, max: 16 },
};

/** The runs of a table, ascending; or what is wrong with them. */
export function decodeRuns(
  type: 'PAGES' | 'CODED',
  table: Buffer,
  geometry: ChannelGeometry,
  kinds: Kinds,
): PageRun[] | string {
  const runCount = table.byteLength / RUN_BYTES;
  if (!Number.isInteger(runCount) || runCount === 0) {
    return `the table of ${type} has ${table.byteLength} bytes of runs; a run has ${RUN_BYTES}`;
  }
  const runs: PageRun[] = [];
  let end = 0;
  for (let offset = 0; offset < table.byteLength; offset += RUN_BYTES) {
    const firstPage = table.readUInt32LE(offset);
    const pageCount = table.readUIntLE(offset + 4, 3);
    const run = { firstPage, pageCount, kind: table.readUInt8(offset + 7) as RunKind };
    const problem = runProblem(run, geometry, kinds);
    if (problem !== undefined) return problem;
    if (firstPage < end) return `${type} names page ${firstPage} behind page ${end - 1}`;
    end = firstPage + pageCount;
    runs.push(run);
  }
  return runs;
}

/** The table of a CODED frame. */
export function decodeCoded(
  table: Buffer,
  payloadBytes: number,
  geometry: ChannelGeometry,
): CodedFrame | string {
  if (table.byteLength < CODED_HEAD_BYTES) return `the table of CODED has ${table.byteLength} bytes`;
  const codec = table.readUInt8(0) as WireCodec;
  if (!CODECS.includes(codec)) return `CODED is of the unknown codec ${codec}`;
  if (table.readUIntLE(1, 3) !== 0) return 'a reserved field of CODED is not zero';
  const decodedBytes = table.readUInt32LE(4);
  const runs = decodeRuns('CODED', table.subarray(CODED_HEAD_BYTES), geometry, CODED_KINDS);
  if (typeof runs === 'string') return runs;
  const problem = sizeProblem(runs, codec, decodedBytes, payloadBytes);
  return problem ?? { type: 'CODED', codec, decodedBytes, runs, payloadBytes };
}

/** Whether the sizes that a CODED frame announces fit each other. */
function sizeProblem(
  runs: readonly PageRun[],
  codec: WireCodec,
  decodedBytes: number,
  payloadBytes: number,
): string | undefined {
  let pages = 0;
  let min = 0;
  let max = 0;
  for (const { pageCount, kind } of runs) {
    if (kind !== RunKind.ZERO) pages += pageCount;
    min += pageCount * BODY_BYTES[kind].min;
    max += pageCount * BODY_BYTES[kind].max;
  }
  const { gatheredPagesMax } = WIRE_LIMITS;
  if (pages > gatheredPagesMax) return `CODED gathers ${pages} pages; allowed are ${gatheredPagesMax}`;
  if (decodedBytes < min || decodedBytes > max) {
    return `CODED announces ${decodedBytes} bytes for runs that have ${min} to ${max}`;
  }
  const isFit = codec === WireCodec.NONE ? payloadBytes === decodedBytes : payloadBytes < decodedBytes;
  if (isFit) return undefined;
  return `CODED brings ${payloadBytes} bytes that are to be ${decodedBytes} by codec ${codec}`;
}

function runProblem(run: PageRun, geometry: ChannelGeometry, kinds: Kinds): string | undefined {
  const { firstPage, pageCount, kind } = run;
  const named = `the run of ${pageCount} pages from page ${firstPage}`;
  if (!kinds.includes(kind)) return `${named} is of the unknown kind ${String(kind)}`;
  if (pageCount === 0) return `${named} is empty`;
  const end = firstPage + pageCount;
  if (end > geometry.pageCount) return `${named} is outside the guest's ${geometry.pageCount} pages`;
  if (geometry.channelCount === 1) return undefined;
  const oneStripe = Math.floor(firstPage / STRIPE_PAGES) === Math.floor((end - 1) / STRIPE_PAGES);
  if (oneStripe && channelOf(firstPage, geometry.channelCount) === geometry.channel) return undefined;
  return `${named} is not in a stripe of channel ${geometry.channel} of ${geometry.channelCount}`;
}
