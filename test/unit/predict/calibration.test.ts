/** Goal: what migrations took beside their pages is learned, and one strange migration does not spoil it. */

import { expect, test } from 'vitest';
import { firstCalibration, formulas, learned } from '../../../predict/calibration.ts';
import { taught } from '../../../predict/lesson.ts';
import { DEFAULT_CONVERGENCE } from '../../../proto/convergence.ts';
import {
  BandwidthRule,
  DestinationReport,
  MigrationOptions,
  MigrationReport,
  PostcopyDestinationReport,
  PostcopySourceReport,
  RoundReport,
  SourceReport,
} from '../../../proto/generated/godwit/v1/migration.ts';
import { Prediction } from '../../../proto/generated/godwit/v1/prediction.ts';
import { defaultMigrationOptions } from '../../../proto/migration-options.ts';

test('what takes twice as long as by its formula is expected to, after some migrations', () => {
  let calibration = firstCalibration();
  for (let move = 0; move < 20; move++) {
    calibration = learned(calibration, 'pre-copy', { setup: 30 }, { setup: 60 });
  }
  expect(calibration['pre-copy'].setup.value).toBeCloseTo(2, 1);
  expect(calibration['pre-copy'].setup.spread).toBeLessThan(firstCalibration()['pre-copy'].setup.spread);
  expect(calibration['pre-copy'].pause).toEqual(firstCalibration()['pre-copy'].pause);
  expect(calibration.hybrid).toEqual(firstCalibration().hybrid);
});

test('a migration that met a stalled machine teaches that bands are wide, and little else', () => {
  const calibration = learned(firstCalibration(), 'pre-copy', { pause: 5 }, { pause: 5000 });
  expect(calibration['pre-copy'].pause.value).toBeLessThan(2);
  expect(calibration['pre-copy'].pause.spread).toBeGreaterThan(firstCalibration()['pre-copy'].pause.spread);
});

const basis = { pageCount: 16_384n, bandwidthBytesPerS: 50_000_000, roundTripMs: 2 };
const expected = formulas('pre-copy', { memoryBytes: 16_384 * 4096, roundTripMs: 2 });

/** A pre-copy of one round of a second and a pause of 20 ms, set up in three times its formula. */
function report(changes: Partial<MigrationReport> = {}): MigrationReport {
  const round = { round: 1, startMs: 1000 + expected.setup * 3, durationMs: 1000, sentBytes: 50_000_000n };
  const parkedAtMs = round.startMs + round.durationMs + 10;
  return {
    ...MigrationReport.create(),
    options: MigrationOptions.fromPartial(defaultMigrationOptions('pre-copy')),
    prediction: Prediction.fromPartial({ basis }),
    sourceReport: SourceReport.fromPartial({
      acceptedAtMs: 1000,
      setupDoneAtMs: round.startMs,
      parkedAtMs,
      downtimeBytes: 0n,
      freedAtMs: parkedAtMs + 25,
      rounds: [RoundReport.fromPartial(round)],
    }),
    destinationReport: DestinationReport.fromPartial({ resumedAtMs: parkedAtMs + 20 }),
    ...changes,
  };
}

test('a report teaches the terms that it shows', () => {
  const { 'pre-copy': factors } = taught(firstCalibration(), report());
  expect(factors.setup.value).toBeCloseTo(3 ** 0.25, 2);
  expect(factors.pause.value).toBeCloseTo((20 / expected.pause) ** 0.25, 2);
  expect(factors.link.value).toBeCloseTo(1, 2);
  expect(factors.fault.value).toBe(1);
});

test('what a migration was limited to, or did besides, teaches nothing of the link', () => {
  const convergence = { ...DEFAULT_CONVERGENCE, bandwidthRule: BandwidthRule.BANDWIDTH_RULE_CLARK };
  const ruled = MigrationOptions.fromPartial({ ...defaultMigrationOptions('pre-copy'), convergence });
  const calibration = firstCalibration();
  expect(taught(calibration, report({ options: ruled }))).toBe(calibration);
  const limited = MigrationOptions.fromPartial({
    ...defaultMigrationOptions('post-copy'),
    maxPostcopyBandwidthBytesPerS: 5_000_000,
  });
  const said = report({ options: limited });
  said.sourceReport!.postcopy = PostcopySourceReport.fromPartial({ sentBytes: 5_000_000n });
  const { resumedAtMs } = said.destinationReport!;
  const postcopy = { completeAtMs: resumedAtMs + 1000 };
  said.destinationReport!.postcopy = PostcopyDestinationReport.fromPartial(postcopy);
  expect(taught(calibration, said)['post-copy'].push).toEqual(calibration['post-copy'].push);
});

test('a report without a prediction, or without an end, teaches nothing', () => {
  const calibration = firstCalibration();
  expect(taught(calibration, report({ prediction: undefined }))).toBe(calibration);
  expect(taught(calibration, report({ destinationReport: undefined }))).toBe(calibration);
});
