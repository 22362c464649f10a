/**
 * Goal: what is believed of other guests' pages costs bytes when it is past or a lie, and never a byte of a
 * guest. Method: guests that move one after the other between the same two hosts, with real movers; what the
 * source is told of the destination is planted, and what the destination holds is written over, or gone.
 */

import { afterEach, describe, expect, test } from 'vitest';
import { Guest } from '../../hosts/guest/guest.ts';
import { HostContents } from '../../hosts/host-contents.ts';
import { hashPage } from '../../hosts/transform/page-hash.ts';
import { SentContents } from '../../hosts/transform/sent-contents.ts';
import type { GuestSpec } from '../../proto/generated/godwit/v1/guest.ts';
import {
  DedupScope,
  type MigrationOptions,
  type SourceReport,
  type TransformReport,
} from '../../proto/generated/godwit/v1/migration.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { DEFAULT_TRANSFORMS } from '../../proto/transforms.ts';
import { EnginePair, guestSpec, optionsOf, type Shares } from './engine-pair.ts';

const { DEDUP_SCOPE_GANG, DEDUP_SCOPE_HOST } = DedupScope;
const MEBIBYTE = 1024 * 1024;
const PAGES = (4 * MEBIBYTE) / PAGE_BYTES;

const pairs: EnginePair[] = [];
const guests: Guest[] = [];

afterEach(async () => {
  for (const pair of pairs.splice(0)) await pair.end();
  for (const guest of guests.splice(0)) await guest.destroy();
});

/** Guests of one seed have the same pages, none of which is alike another of the same guest. */
function alike(kind: string, rate: number): GuestSpec {
  return {
    ...guestSpec(kind, rate),
    content: { zero: 0, duplicate: 0, shared: 0, compressible: 0.5 },
  };
}

function hosts(): Required<Shares> & { readonly contents: HostContents } {
  return { gang: SentContents.allocate(8 * PAGES), contents: new HostContents(1024 * MEBIBYTE) };
}

interface Move {
  readonly pair: EnginePair;
  readonly report: SourceReport;
  readonly dedup: TransformReport;
}

/** Moves a guest and proves it. */
async function move(
  spec: GuestSpec,
  dedup: DedupScope,
  shares: Shares,
  technique = 'pre-copy',
  changes: Partial<MigrationOptions> = {},
): Promise<Move> {
  const options = { transforms: { ...DEFAULT_TRANSFORMS, dedup }, channels: 2, ...changes };
  const pair = await EnginePair.create(spec, optionsOf(technique, options), shares);
  pairs.push(pair);
  await pair.begin();
  const { outcome } = await pair.ends();
  expect(outcome.reason).toBe('');
  const { faults, pagesChecked } = await pair.destination.audit();
  expect(faults).toEqual([]);
  expect(pagesChecked).toBe(BigInt(PAGES));
  const report = outcome.report!;
  return { pair, report, dedup: report.transforms.find(({ name }) => name === 'dedup')! };
}

/** Everything that a guest of this kind holds at boot is said to be at the destination. */
async function plant(spec: GuestSpec, into: SentContents): Promise<void> {
  const guest = await Guest.create({ ...spec, workload: guestSpec('idle', 0).workload });
  guests.push(guest);
  const hash = { low: 0, high: 0 };
  for (let page = 0; page < PAGES; page++) {
    hashPage(new Uint8Array(guest.shared.memory, page * PAGE_BYTES, PAGE_BYTES), hash);
    into.add(hash);
  }
}

describe('a guest whose pages the destination has of another one', () => {
  test('is moved by digests when the other was of its gang', async () => {
    const shares = hosts();
    const first = await move(alike('idle', 0), DEDUP_SCOPE_GANG, shares);
    const second = await move(alike('idle', 0), DEDUP_SCOPE_GANG, shares);
    expect(first.dedup.hits).toBe(0n);
    expect(second.dedup.hits).toBeGreaterThan(0.9 * PAGES);
    expect(second.report.transferredBytes * 10n).toBeLessThan(first.report.transferredBytes);
  });

  test('is moved by digests when the destination offers what another guest of it holds', async () => {
    const shares = hosts();
    const other = await Guest.create(alike('idle', 0));
    guests.push(other);
    shares.contents.enter(other);
    const { report, dedup } = await move(alike('idle', 0), DEDUP_SCOPE_HOST, shares);
    expect(dedup.hits).toBeGreaterThan(0.9 * PAGES);
    expect(report.transferredBytes).toBeLessThan(0.1 * 4 * MEBIBYTE);
  });

  test('is whole though both write all the while, by every technique that may use digests', async () => {
    const shares = hosts();
    await move(alike('uniform', 20_000), DEDUP_SCOPE_GANG, shares);
    for (const technique of ['pre-copy', 'hybrid', 'stop-and-copy', 'post-copy']) {
      const { dedup } = await move(alike('uniform', 20_000), DEDUP_SCOPE_HOST, shares, technique);
      if (technique === 'stop-and-copy' || technique === 'post-copy') expect(dedup.hits).toBe(0n);
    }
  });
});

describe('what was said of the destination', () => {
  test('costs a round when it is a lie, and nothing else', async () => {
    const shares = hosts();
    const spec = alike('idle', 0);
    await plant(spec, new SentContents(shares.gang));
    const { report, dedup } = await move(spec, DEDUP_SCOPE_GANG, shares, 'pre-copy', { downtimeLimitMs: 10 });
    // Every page that was believed to be there was wanted, and came.
    expect(dedup.hits).toBe(0n);
    expect(dedup.misses).toBe(BigInt(2 * PAGES));
    // Not in the pause: a page that was wanted is expected to cost a page.
    expect(report.rounds.map(({ pages }) => pages)).toEqual([BigInt(PAGES), BigInt(PAGES), 0n]);
    expect(report.transferredBytes).toBeLessThan(1.1 * 4 * MEBIBYTE);
    // What was wanted is to be sent, and yet it is not what the guest wrote: it does nothing.
    const [{ dirtyPagesAfter, dirtyRatePagesPerS }] = report.rounds as [SourceReport['rounds'][0]];
    expect(dirtyPagesAfter).toBe(BigInt(PAGES));
    expect(dirtyRatePagesPerS).toBe(0);
  });

  test('is past when the guest that had the pages is gone, and costs the same', async () => {
    const shares = hosts();
    const first = await move(alike('idle', 0), DEDUP_SCOPE_GANG, shares);
    await first.pair.destination.destroy();
    const { report, dedup } = await move(alike('idle', 0), DEDUP_SCOPE_GANG, shares);
    expect(dedup.hits).toBe(0n);
    expect(report.transferredBytes).toBeGreaterThan(0.9 * 4 * MEBIBYTE);
  });

  test('is past for the pages that the other guest has written since', async () => {
    const shares = hosts();
    const first = await move(alike('idle', 0), DEDUP_SCOPE_GANG, shares);
    // As its vCPUs would.
    new Uint8Array(first.pair.destination.shared.memory).fill(7, 0, 2 * MEBIBYTE);
    const { dedup } = await move(alike('idle', 0), DEDUP_SCOPE_GANG, shares);
    expect(dedup.hits).toBeGreaterThan(0.4 * PAGES);
    expect(dedup.hits).toBeLessThanOrEqual(0.5 * PAGES);
    expect(dedup.misses).toBeGreaterThanOrEqual(0.5 * PAGES);
  });
});
