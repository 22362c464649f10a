/** Goal: a record sets what was expected beside what was measured, and names a link that was another by then. */

import { describe, expect, test } from 'vitest';
import {
  MigrationOptions,
  MigrationReport,
  NetworkEstimate,
  RoundReport,
  SourceReport,
} from '../../../proto/generated/godwit/v1/migration.ts';
import { Prediction } from '../../../proto/generated/godwit/v1/prediction.ts';
import { defaultMigrationOptions } from '../../../proto/migration-options.ts';
import { predictionRecord } from '../../../records/prediction-record.ts';

const MEASURED = {
  total_time_ms: 1000,
  downtime_ms: 20,
  transferred_bytes: 50_000_000,
  degradation_percent: 2,
};
const band = (value: number) => ({ value, low: value * 0.9, high: value * 1.1 });

/** A pre-copy whose one round had so much of the link, which was probed at 50 MB/s and 10 ms. */
function report(bytesPerS: number, roundTripMs?: number): MigrationReport {
  const technique = {
    technique: 'pre-copy',
    totalTimeMs: band(950),
    downtimeMs: band(30),
    transferredBytes: band(50_000_000),
    degradationPercent: band(2),
  };
  const sentBytes = BigInt(bytesPerS);
  const estimates = roundTripMs === undefined ? [] : [{ atMs: 1, leastRoundTripMs: roundTripMs }];
  return {
    ...MigrationReport.create(),
    options: MigrationOptions.fromPartial(defaultMigrationOptions('pre-copy')),
    prediction: Prediction.fromPartial({
      basis: { pageCount: 1024n, bandwidthBytesPerS: 50_000_000, roundTripMs: 10 },
      techniques: [technique],
    }),
    sourceReport: SourceReport.fromPartial({
      rounds: [RoundReport.fromPartial({ round: 1, durationMs: 1000, sentBytes })],
      networkEstimates: estimates.map((estimate) => NetworkEstimate.fromPartial(estimate)),
    }),
  };
}

test('what was measured stands beside what was expected, and within its band or not', () => {
  const record = predictionRecord(report(50_000_000), MEASURED);
  expect(record).toMatchObject({
    technique: 'pre-copy',
    link_changed: null,
    within_band: false,
    reason: null,
  });
  expect(record!.total_time_ms).toMatchObject({ predicted: 950, measured: 1000, within_band: true });
  expect(record!.total_time_ms.error_percent).toBeCloseTo(-5, 9);
  expect(record!.downtime_ms).toMatchObject({ measured: 20, within_band: false });
});

test('what was not measured is neither within its band nor outside', () => {
  const record = predictionRecord(report(50_000_000), { ...MEASURED, downtime_ms: null });
  expect(record!.downtime_ms).toMatchObject({ measured: null, error_percent: null, within_band: null });
  expect(record!.within_band).toBeNull();
});

test('a migration that was not predicted has no such record', () => {
  expect(predictionRecord({ ...report(50_000_000), prediction: undefined }, MEASURED)).toBeNull();
});

describe('a link is named', () => {
  test.each([
    ['that gave a third less', 33_000_000, 10, /264 Mbit\/s of the link, 34 % less than the 400 Mbit\/s/],
    ['that gave more', 60_000_000, 10, /20 % more/],
    [
      'whose way became longer than any queue',
      50_000_000,
      60,
      /round trip was 60\.0 ms, and 10\.0 ms of the probe/,
    ],
    ['whose way became shorter', 50_000_000, 5, /round trip was 5\.0 ms/],
  ])('%s', (_, bytesPerS, roundTripMs, says) => {
    expect(predictionRecord(report(bytesPerS, roundTripMs), MEASURED)!.link_changed).toMatch(says);
  });

  test('not when it gave what it had given, with pages that waited for it', () => {
    expect(predictionRecord(report(47_000_000, 30), MEASURED)!.link_changed).toBeNull();
  });
});
