/**
 * Goal: what the source believes of the link is the link's, also when that changes in the middle of a round; and
 * whatever rule sets the bandwidth, the guest arrives whole and the rule is over with the rounds. Method: both ends of
 * real migrations in one process, and between them the NIC that shapes links.
 */

import { afterEach, describe, expect, test } from 'vitest';
import { DELAY_RULE } from '../../hosts/migration/precopy/bandwidth-rules/delay-control.ts';
import { Nic } from '../../hosts/network/nic.ts';
import { DEFAULT_CONVERGENCE } from '../../proto/convergence.ts';
import {
  BandwidthRule,
  type MigrationOptions,
  MigrationPhase,
  type SourceReport,
} from '../../proto/generated/godwit/v1/migration.ts';
import { UNSHAPED_LINK } from '../../proto/network-shape.ts';
import { EnginePair, guestSpec, optionsOf, until } from './engine-pair.ts';

const MBIT = 125_000;
/** What a link may give more than its rate in a short time: a thread that came late catches up. */
const CATCHING_UP = 1.35;

const pairs: EnginePair[] = [];
const nics: Nic[] = [];

afterEach(async () => {
  await Promise.all(pairs.splice(0).map((pair) => pair.end()));
  await Promise.all(nics.splice(0).map((nic) => nic.close()));
});

async function shape(nic: Nic, rateBytesPerS: number): Promise<void> {
  const link = { ...UNSHAPED_LINK, rateBytesPerS };
  await nic.setShape({ egress: link, ingress: link, peers: [] });
}

interface Shaped {
  readonly pair: EnginePair;
  readonly nic: Nic;
}

/** A migration that has begun over a link of this rate. */
async function begun(mebibytes: number, mbit: number, changes: Partial<MigrationOptions>): Promise<Shaped> {
  const spec = guestSpec('hot-cold', 200, 1, mebibytes);
  const pair = await EnginePair.create(spec, optionsOf('pre-copy', changes));
  pairs.push(pair);
  const nic = await Nic.start(7);
  nics.push(nic);
  await shape(nic, mbit * MBIT);
  await pair.connect(await nic.dial('127.0.0.1', await pair.listen(), ''));
  return { pair, nic };
}

/** The report of a migration that came to its end, with a guest that is whole. */
async function arrived(pair: EnginePair): Promise<SourceReport> {
  const { outcome } = await pair.ends();
  expect(outcome).toMatchObject({ phase: MigrationPhase.MIGRATION_PHASE_COMPLETED, reason: '' });
  expect((await pair.destination.audit()).faults).toEqual([]);
  return outcome.report!;
}

function ruled(bandwidthRule: BandwidthRule, minBandwidthBytesPerS = MBIT): Partial<MigrationOptions> {
  return { convergence: { ...DEFAULT_CONVERGENCE, bandwidthRule, minBandwidthBytesPerS } };
}

describe('what the source knows of its link', () => {
  test('is what the link carries, and the way there and back', async () => {
    const { pair } = await begun(8, 40, {});
    await until(() => pair.progress?.roundTripMs !== undefined || pair.isFreed);
    const { networkEstimates } = await arrived(pair);
    const rates = networkEstimates.flatMap(({ bandwidthBytesPerS }) => bandwidthBytesPerS ?? []);
    expect(rates.length).toBeGreaterThan(0);
    expect(rates.sort((a, b) => a - b)[rates.length >> 1]).toBeLessThan(40 * MBIT * CATCHING_UP);
    expect(networkEstimates.every(({ leastRoundTripMs }) => leastRoundTripMs !== 0)).toBe(true);
  });

  test('is not what it carried before it became slower in the middle of the round', async () => {
    const { pair, nic } = await begun(8, 160, {});
    await until(() => (pair.progress?.round ?? 0) > 0);
    // Half of what has content in this guest.
    for (let isHalf = false; !isHalf; ) isHalf = (await nic.stats()).ingressBytes > 2 * 1024 * 1024;
    await shape(nic, 8 * MBIT);
    const { rounds } = await arrived(pair);
    const [first] = rounds;
    expect(first!.bandwidthBytesPerS).toBeLessThan(8 * MBIT * CATCHING_UP);
  });
});

describe('a bandwidth rule', () => {
  test('clark begins with the least and takes what the guest dirties and 50 Mbit/s more', async () => {
    const changes = {
      ...ruled(BandwidthRule.BANDWIDTH_RULE_CLARK, 32 * MBIT),
      maxBandwidthBytesPerS: 56 * MBIT,
    };
    const { pair } = await begun(4, 1000, { ...changes, downtimeLimitMs: 0, maxRounds: 3 });
    const { decisions, rounds } = await arrived(pair);
    const clark = decisions.filter(({ rule }) => rule === 'clark').map(({ value }) => value);
    expect(clark[0]).toBe(32 * MBIT);
    for (const value of clark.slice(1)) {
      expect(value).toBeGreaterThanOrEqual(50 * MBIT);
      expect(value).toBeLessThanOrEqual(56 * MBIT);
    }
    // A slow machine may take longer, but nobody was faster than he might.
    const first = rounds[0]!;
    expect((Number(first.sentBytes) / first.durationMs) * 1000).toBeLessThan(32 * MBIT * CATCHING_UP);
  });

  test('delay begins with little, takes no more than it may, and says so', async () => {
    const changes = { ...ruled(BandwidthRule.BANDWIDTH_RULE_DELAY), maxBandwidthBytesPerS: 200 * MBIT };
    const { pair } = await begun(16, 400, changes);
    const { decisions, networkEstimates } = await arrived(pair);
    const taken = decisions.filter(({ rule }) => rule === 'delay').map(({ value }) => value);
    expect(taken[0]).toBe(DELAY_RULE.startBytesPerS);
    expect(Math.max(...taken)).toBeLessThanOrEqual(200 * MBIT);
    expect(decisions.length).toBeLessThanOrEqual(1000);
    expect(networkEstimates.length).toBeGreaterThan(0);
  });

  test('is over with the migration: a guest that was not handed over moves again at full speed', async () => {
    const { pair } = await begun(4, 400, { ...ruled(BandwidthRule.BANDWIDTH_RULE_CLARK), minDirtyPages: 0n });
    await until(() => pair.progress !== undefined);
    pair.outgoing.cancel('to try again');
    await pair.ends();
    expect(pair.source.running).toBe(true);
    const { operations } = pair.source.series.counts();
    await until(() => pair.source.series.counts().operations > operations);
    const again = await EnginePair.of(pair.source, optionsOf('pre-copy'));
    pairs.push(again);
    await again.begin();
    const { decisions } = await arrived(again);
    expect(decisions).toEqual([]);
  });
});
