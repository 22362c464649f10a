/** What the source believed of the link beside what it was, and what became of other traffic: by their definitions. */

import { describe, expect, test } from 'vitest';
import { linkTruth } from '../../../experiment/link-truth.ts';
import { type NetworkEstimate, SourceReport } from '../../../proto/generated/godwit/v1/migration.ts';
import type { LinkShape } from '../../../proto/generated/godwit/v1/network.ts';
import { UNSHAPED_LINK } from '../../../proto/network-shape.ts';
import { backgroundRecord, inTime } from '../../../records/background-record.ts';
import { carriedBytes, estimatesRecord, type RateStep } from '../../../records/estimates-record.ts';

const ACCEPTED_MS = 1000;
const FOR_EVER = Number.NEGATIVE_INFINITY;

function sourceReport(networkEstimates: NetworkEstimate[], pauseRequestedAtMs = 9000): SourceReport {
  return SourceReport.fromPartial({ acceptedAtMs: ACCEPTED_MS, pauseRequestedAtMs, networkEstimates });
}

/** An estimate ten times a second: at first nothing is known, then this. */
function estimatesOf(bandwidthAt: (ms: number) => number | undefined, untilMs: number): NetworkEstimate[] {
  const estimates: NetworkEstimate[] = [];
  for (let atMs = ACCEPTED_MS + 100; atMs <= untilMs; atMs += 100) {
    estimates.push({
      atMs,
      bandwidthBytesPerS: bandwidthAt(atMs),
      roundTripMs: 12,
      leastRoundTripMs: 2,
    });
  }
  return estimates;
}

const STEP: RateStep[] = [
  { atMs: FOR_EVER, bytesPerS: 100 },
  { atMs: 3000, bytesPerS: 50 },
];

describe('estimates of the link', () => {
  test('are null without any, and what was not known is not taken for 0', () => {
    expect(estimatesRecord(sourceReport([]), STEP)).toBeNull();
    const record = estimatesRecord(sourceReport(estimatesOf(() => undefined, 8000)), STEP)!;
    expect(record).toMatchObject({ samples: 0, bandwidth_error_median_percent: null });
    expect(record.error_after_step_percent).toBeNull();
    expect(record.series[0]).toMatchObject({ at_ms: 100, bandwidth_bytes_per_s: null });
  });

  test('are judged a second after a step, by the newest one then', () => {
    const late = estimatesOf((ms) => (ms < 3950 ? 100 : 52), 8000);
    const record = estimatesRecord(sourceReport(late), STEP)!;
    const [step] = record.steps;
    expect(step).toMatchObject({ at_ms: 2000, bandwidth_bytes_per_s: 50 });
    expect(step!.error_after_1s_percent).toBeCloseTo(4, 6);
    const later = estimatesOf((ms) => (ms < 4050 ? 100 : 52), 8000);
    const judged = estimatesRecord(sourceReport(later), STEP)!;
    expect(judged.error_after_step_percent).toBeCloseTo(100, 6);
  });

  test('are not judged when the pause came before, the link changed again, or the estimate is old', () => {
    const all = estimatesOf(() => 50, 8000);
    expect(estimatesRecord(sourceReport(all, 3900), STEP)!.error_after_step_percent).toBeNull();
    const again = [...STEP, { atMs: 3500, bytesPerS: 100 }];
    expect(estimatesRecord(sourceReport(all), again)!.steps[0]!.error_after_1s_percent).toBeNull();
    const old = all.filter(({ atMs }) => atMs < 3400);
    expect(estimatesRecord(sourceReport(old), STEP)!.steps[0]!.error_after_1s_percent).toBeNull();
  });
});

describe('what a link gives', () => {
  const link = (rateBytesPerS: number): LinkShape => ({ ...UNSHAPED_LINK, rateBytesPerS });
  const plan = (rate: number, later: number) => ({
    shape: { egress: link(rate), ingress: link(rate), peers: [] },
    changes: [{ atMs: 500, link: { rateBytesPerS: later } }],
  });
  const plans = new Map([
    ['host-1', plan(1000, 200)],
    ['host-2', plan(800, 400)],
  ]);
  const way = { from: 'host-1', to: 'host-2' };

  test('is the least rate on the way, from when a host has taken a change on', () => {
    const applied = [
      { host: 'host-2', plannedMs: 500, appliedAtMs: 7510 },
      { host: 'host-1', plannedMs: 500, appliedAtMs: 7530 },
    ];
    expect(linkTruth(plans, applied, way, undefined)).toEqual([
      { atMs: FOR_EVER, bytesPerS: 800 },
      { atMs: 7510, bytesPerS: 400 },
      { atMs: 7530, bytesPerS: 200 },
    ]);
    const background = { ...way, rateBytesPerS: 300 };
    expect(linkTruth(plans, [], way, background)).toEqual([{ atMs: FOR_EVER, bytesPerS: 500 }]);
    expect(linkTruth(new Map(), [], way, undefined)).toEqual([{ atMs: FOR_EVER, bytesPerS: undefined }]);
  });

  test('adds up over its changes, and is unknown without a rate', () => {
    expect(carriedBytes(STEP, 2000, 5000)).toBe(100 + 100);
    expect(carriedBytes([{ atMs: FOR_EVER, bytesPerS: undefined }], 2000, 5000)).toBeUndefined();
    expect(carriedBytes([], 2000, 5000)).toBeUndefined();
  });
});

describe('other traffic', () => {
  const samples = Array.from({ length: 61 }, (_, index) => ({
    heardAtMs: index * 100,
    atMs: index * 100,
    offeredBytes: index * 1000,
    // Half of it arrives from 2 to 4 s.
    receivedBytes: index * 1000 - Math.min(Math.max(index - 20, 0), 20) * 500,
    receiverMs: index * 100,
  }));

  test('is counted before, in and after the migration', () => {
    const arrived = inTime(samples, { fromMs: 2000, toMs: 4000 });
    expect(arrived).toEqual({ beforeBytesPerS: 10_000, duringBytesPerS: 5000, afterBytesPerS: 10_000 });
    const facts = { from: 'host-1', to: 'host-2', rateBytesPerS: 10_000, ...arrived };
    const record = backgroundRecord(facts, { sentBytes: 30_000, durationMs: 2000 }, 40_000);
    expect(record).toMatchObject({ kept_percent: 50, migration_bytes_per_s: 15_000 });
    expect(record.migration_share_percent).toBe(75);
    expect(backgroundRecord(facts, { sentBytes: 1, durationMs: 0 }, undefined)).toMatchObject({
      migration_bytes_per_s: null,
      migration_share_percent: null,
    });
  });

  test('that was not heard of in a time is unknown there', () => {
    const arrived = inTime(samples, { fromMs: 5990, toMs: 7000 });
    expect(arrived).toMatchObject({ duringBytesPerS: null, afterBytesPerS: null });
  });
});
