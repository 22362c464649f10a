/**
 * What transforms save and cost, by `godwit run`: compression on links that are slow, medium and fast, the adaptive
 * choice against every fixed one, deduplication, delta, and encryption against none and against node:crypto alone.
 * Contenders run in turn; what is compared is of one run.
 */

import { createCipheriv } from 'node:crypto';
import { missingNamespaceRights } from '../fabric/netns-fabric.ts';
import { nowMs } from '../hosts/clock.ts';
import type { TrialRecord } from '../records/result-record.ts';
import { best, inRounds, measured } from './rounds.ts';
import { type Outcome, type Row, row, type Target } from './row.ts';
import { runSpec } from './run-spec.ts';

const ROUNDS = 3;
const BYTES_PER_MIB = 1024 ** 2;
/** Half of the content compresses to a quarter: five eighths are left. */
const CONTENT = '{compressible: 0.375}';
const ADAPTIVE_TARGET = { at_most: 1.03 };
const PLAIN = '{encryption: none}';

/** A link, a guest for it that moves for some seconds, and the codecs that may be the best there. */
const LINKS = [
  { name: '100 Mbit/s', link: 'link: {rate: 100mbit}', memoryMib: 160, codecs: ['lz4', 'zstd', 'deflate'] },
  {
    name: '1 Gbit/s',
    link: 'link: {rate: 1gbit}',
    memoryMib: 512,
    codecs: ['none', 'lz4', 'snappy', 'zstd'],
  },
  { name: 'unshaped', link: '', memoryMib: 1024, codecs: ['none', 'lz4', 'snappy', 'zstd'] },
] as const;
type Link = (typeof LINKS)[number];

/** Between namespaces the kernel shapes links and takes less of the processor for it than the relay does. */
const fabric = (): string => (missingNamespaceRights() === undefined ? 'netns' : 'process');

async function trialsOf(spec: string): Promise<readonly TrialRecord[]> {
  return (await runSpec(`name: transforms\nfabric: {kind: ${fabric()}}\n${spec}`)).trials;
}

/** An idle guest moves over a link. */
async function idleMove(
  { link, memoryMib }: Pick<Link, 'link' | 'memoryMib'>,
  transforms: string,
): Promise<TrialRecord> {
  const [trial] = await trialsOf(`
guest: {memory: ${memoryMib}MiB, content: ${CONTENT}, workload: {kind: idle}}
migration: {technique: pre-copy, transforms: [zero, ${transforms}]}
${link}
`);
  return trial as TrialRecord;
}

const totalMs = (trial: TrialRecord): number => trial.total_time_ms as number;
const bytesPerS = (trial: TrialRecord): number =>
  ((trial.transferred_bytes as number) / totalMs(trial)) * 1000;
const bytesOf = (trials: readonly TrialRecord[]): number =>
  trials.reduce((sum, { transferred_bytes }) => sum + (transferred_bytes as number), 0);

/** One outcome's measure against another's. */
function against<Sample>(
  about: { readonly work: string; readonly measure: string; readonly unit: string },
  ours: Outcome<Sample>,
  theirs: Outcome<Sample>,
  measure: (sample: Sample) => number,
  target?: Target,
): Row {
  const peer = measured(theirs, measure);
  return row(about, measured(ours, measure), target === undefined ? { peer } : { peer, target });
}

async function compressionRows(link: Link, roundCount: number): Promise<Row[]> {
  const move = (codec: string) => () => idleMove(link, `{compression: ${codec}}, ${PLAIN}`);
  const contenders = Object.fromEntries(['adaptive', ...link.codecs].map((codec) => [codec, move(codec)]));
  const found = await inRounds(roundCount, contenders);
  const outcome = (codec: string) => found[codec] as Outcome<TrialRecord>;
  const work = `idle, ${link.memoryMib} MiB, ${link.name}, 50 % of the content compressible to a quarter`;
  const about = (codec: string) => ({ work: `${work}, ${codec}`, measure: 'total time', unit: 'ms' });
  const fixed = link.codecs.map(outcome);
  const rows = [
    against(about('adaptive'), outcome('adaptive'), best(fixed, totalMs), totalMs, ADAPTIVE_TARGET),
  ];
  for (const codec of link.codecs) {
    if (codec === 'none' || link.name === '100 Mbit/s')
      rows.push(row(about(codec), measured(outcome(codec), totalMs)));
    else {
      const isTarget = codec === 'lz4' && link.name === '1 Gbit/s';
      const target = isTarget ? { at_most: 0.68 } : undefined;
      rows.push(against(about(codec), outcome(codec), outcome('none'), totalMs, target));
    }
  }
  return rows;
}

async function dedupRow(roundCount: number): Promise<Row> {
  const move = (transforms: string) => () =>
    trialsOf(`
guest:
  count: 8
  memory: 32MiB
  content: {shared: 0.6, image: 16MiB, compressible: 0.5}
  workload: {kind: hot-cold, rate: 50 pages/s, working-set: 1MiB, hot: 0.9}
migration: {technique: pre-copy, from: host-1, to: host-2, all-at-once: true, transforms: [zero, ${transforms}${PLAIN}]}
`);
  const found = await inRounds(roundCount, { dedup: move('{dedup: {scope: gang}}, '), none: move('') });
  const work = 'a gang of 8 guests of 32 MiB that share 60 % of their pages, dedup in the gang';
  const about = { work, measure: 'bytes', unit: 'MiB' };
  return against(about, found.dedup, found.none, (trials) => bytesOf(trials) / BYTES_PER_MIB, {
    at_most: 0.5,
  });
}

/** A page write changes 4 bytes and a counter: between two rounds of 100 ms a hot page is written some 16 times. */
async function deltaRows(roundCount: number): Promise<Row[]> {
  const move = (transforms: string) => async () => {
    const [trial] = await trialsOf(`
warm-up: 1s
guest:
  memory: 64MiB
  content: {zero: 0.2, compressible: 0.5}
  workload: {kind: hot-cold, rate: 100000 pages/s, working-set: 4MiB, hot: 0.9}
migration: {technique: pre-copy, downtime-limit: 1ms, max-rounds: 8, transforms: [zero, ${transforms}${PLAIN}]}
link: {rate: 300mbit}
`);
    return trial as TrialRecord;
  };
  const found = await inRounds(roundCount, { delta: move('delta, '), none: move('') });
  const work = 'hot-cold at 100,000 pages/s in 4 of 64 MiB, 300 Mbit/s, delta';
  const later = ({ rounds }: TrialRecord) => (rounds ?? []).filter(({ round }) => round > 1);
  const sent = (trial: TrialRecord) => later(trial).reduce((sum, { sent_bytes }) => sum + sent_bytes, 0);
  const resent = (trial: TrialRecord) =>
    later(trial).reduce((sum, { resent_pages }) => sum + resent_pages, 0);
  return [
    against(
      { work, measure: 'bytes after round 1', unit: 'MiB' },
      found.delta,
      found.none,
      (trial) => sent(trial) / BYTES_PER_MIB,
      { at_most: 0.15 },
    ),
    against({ work, measure: 'bytes of a resent page', unit: 'B' }, found.delta, found.none, (trial) => {
      return sent(trial) / resent(trial);
    }),
  ];
}

const CIPHER_RECORD_BYTES = 256 * 1024;
const CIPHER_MS = 500;

/** What node:crypto seals on one core, bytes per second, in records as large as batches. */
function cipherBytesPerS(): number {
  const record = Buffer.alloc(CIPHER_RECORD_BYTES, 1);
  const [key, nonce] = [Buffer.alloc(32, 2), Buffer.alloc(12)];
  const startMs = nowMs();
  let sealedBytes = 0;
  for (let count = 0; nowMs() - startMs < CIPHER_MS; count++) {
    nonce.writeUInt32LE(count);
    const cipher = createCipheriv('aes-256-gcm', key, nonce);
    sealedBytes += cipher.update(record).byteLength;
    cipher.final();
    cipher.getAuthTag();
  }
  return (sealedBytes / (nowMs() - startMs)) * 1000;
}

async function encryptionRows(roundCount: number): Promise<Row[]> {
  const [, medium, fast] = LINKS;
  const sealed = '{encryption: aes-256-gcm}';
  const found = await inRounds(roundCount, {
    'plain, 1 Gbit/s': () => idleMove(medium, PLAIN),
    'aes-256-gcm, 1 Gbit/s': () => idleMove(medium, sealed),
    plain: () => idleMove(fast, PLAIN),
    'aes-256-gcm': () => idleMove(fast, sealed),
    'node:crypto, one core': async () => cipherBytesPerS(),
  });
  const throughput = {
    work: `idle, ${fast.memoryMib} MiB, unshaped, aes-256-gcm`,
    measure: 'bytes per second',
    unit: 'MiB/s',
  };
  const mibPerS = (trial: TrialRecord): number => bytesPerS(trial) / BYTES_PER_MIB;
  return [
    against(throughput, found['aes-256-gcm'], found.plain, mibPerS, { at_least: 0.5 }),
    row(throughput, measured(found['aes-256-gcm'], mibPerS), {
      peer: measured(found['node:crypto, one core'], (rate) => rate / BYTES_PER_MIB),
      target: { at_least: 0.8 },
    }),
    against(
      { work: `idle, ${medium.memoryMib} MiB, 1 Gbit/s, aes-256-gcm`, measure: 'total time', unit: 'ms' },
      found['aes-256-gcm, 1 Gbit/s'],
      found['plain, 1 Gbit/s'],
      totalMs,
      { at_most: 1.02 },
    ),
  ];
}

export async function transforms(roundCount = ROUNDS): Promise<Row[]> {
  const rows: Row[] = [];
  for (const link of LINKS) rows.push(...(await compressionRows(link, roundCount)));
  rows.push(await dedupRow(roundCount), ...(await deltaRows(roundCount)));
  rows.push(...(await encryptionRows(roundCount)));
  return rows;
}
