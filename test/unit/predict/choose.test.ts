/**
 * Goal: `auto` takes what the goal asks for, by bands and not by hopes, with parameters that fit, and says why. Method:
 * guests whose curve is a formula, on links of which everything is known.
 */

import { describe, expect, test } from 'vitest';
import { firstCalibration } from '../../../predict/calibration.ts';
import { choose, predictAll } from '../../../predict/choose.ts';
import { type PageClass, uniquePages } from '../../../predict/closed-forms/precopy.ts';
import { dirtyCurve } from '../../../predict/dirty-curve.ts';
import { MODELS } from '../../../predict/models.ts';
import type { Probed } from '../../../predict/predictor.ts';
import { DEFAULT_CONVERGENCE } from '../../../proto/convergence.ts';
import { Compression, type Goal, OnTimeout, Throttle } from '../../../proto/generated/godwit/v1/migration.ts';
import { defaultMigrationOptions } from '../../../proto/migration-options.ts';
import { TECHNIQUES } from '../../../proto/names.ts';

const PAGES = 32_768;
const LINK_BYTES_PER_S = 50_000_000;
/** 2,000 pages of 8 MB, written over and over. */
const CALM: PageClass[] = [{ pages: 2000, writesPerS: 1000 }];
/** Half of the memory, three times as fast as the link. */
const BUSY: PageClass[] = [{ pages: PAGES / 2, writesPerS: 36_000 }];
const NO_LIMIT: Goal = {
  maxDowntimeMs: 0,
  maxTotalTimeMs: 0,
  maxDegradationPercent: 0,
  mayLoseOnLinkFailure: false,
};
const options = defaultMigrationOptions('auto');

function samplesOf(classes: readonly PageClass[]) {
  return [31.25, 62.5, 125, 250, 500].map((ms) => ({ ms, dirtyPages: uniquePages(classes, ms / 1000) }));
}

function probed(classes: readonly PageClass[]): Probed {
  return {
    pageCount: PAGES,
    zeroShare: 0,
    compressedShare: 1,
    deviceStateBytes: 65_536,
    written: dirtyCurve(samplesOf(classes), PAGES),
    accessedPerWritten: 1,
    busyShare: 0.1,
    bytesPerS: LINK_BYTES_PER_S,
    roundTripMs: 1,
    bandwidthError: 0.02,
  };
}

function chosen(classes: readonly PageClass[], goal: Partial<Goal>, more = {}) {
  const asked = { ...options, ...more };
  const choice = choose(probed(classes), asked, { ...NO_LIMIT, ...goal }, firstCalibration());
  const { options: taken, prediction } = choice.candidates[choice.chosen]!;
  return { ...choice, taken, prediction };
}

describe('a goal for the downtime', () => {
  test('takes pre-copy for a calm guest, with a downtime limit below the goal', () => {
    const { taken, meetsGoal, prediction, reason } = chosen(CALM, { maxDowntimeMs: 60 });
    expect(taken.technique).toBe('pre-copy');
    expect(taken.downtimeLimitMs).toBeLessThan(60);
    expect(meetsGoal).toBe(true);
    expect(prediction.downtimeMs!.high).toBeLessThanOrEqual(60);
    expect(reason).toMatch(/pre-copy \(downtime-limit \d+ ms\)/);
  });

  test('takes what runs before its pages have come only where that may lose the guest', () => {
    expect(chosen(BUSY, { maxDowntimeMs: 60 })).toMatchObject({ meetsGoal: false });
    const { taken, meetsGoal } = chosen(BUSY, { maxDowntimeMs: 60, mayLoseOnLinkFailure: true });
    expect(['post-copy', 'hybrid']).toContain(taken.technique);
    expect(meetsGoal).toBe(true);
  });

  test('that nothing meets is said to be missed, and by what', () => {
    const { reason, taken } = chosen(BUSY, { maxDowntimeMs: 60 });
    expect(reason).toMatch(
      /^nothing meets the goal; pre-copy .*misses it least: downtime \d+ ms .* of 60 ms/,
    );
    expect(taken.technique).toBe('pre-copy');
  });
});

test('a goal for the total time alone takes what costs the guest least work, and not what is fastest', () => {
  const { taken } = chosen(CALM, { maxTotalTimeMs: 20_000 });
  expect(taken.technique).toBe('pre-copy');
});

test('rounds that make the pause no shorter are left out', () => {
  const { candidates } = chosen(BUSY, { maxDowntimeMs: 60 });
  const short = candidates.find(({ prediction }) => prediction.parameters.includes('max-rounds'))!;
  const long = candidates.find(({ options: { technique } }) => technique === 'pre-copy')!;
  expect(short.options.maxRounds).toBeLessThan(options.maxRounds);
  expect(short.prediction.totalTimeMs!.value).toBeLessThan(long.prediction.totalTimeMs!.value / 2);
  expect(short.prediction.downtimeMs!.value).toBeLessThan(long.prediction.downtimeMs!.value * 1.1);
});

test('a pre-copy that would be given up meets no goal', () => {
  const { taken } = chosen(BUSY, { maxTotalTimeMs: 600_000 }, { onTimeout: OnTimeout.ON_TIMEOUT_ABORT });
  expect(taken.technique).toBe('stop-and-copy');
});

test('without a goal every technique is told of once, as it was asked for', () => {
  const all = predictAll(probed(CALM), options, firstCalibration());
  expect(all.map(({ prediction }) => prediction.technique)).toEqual(TECHNIQUES);
  expect(all.every(({ prediction }) => prediction.parameters === '')).toBe(true);
});

test('beyond the samples a followed curve is nearer to a hot and a cold class than simpler models are', () => {
  const classes = [
    { pages: 1024, writesPerS: 9000 },
    { pages: 16_384, writesPerS: 1000 },
  ];
  const wanted = uniquePages(classes, 2);
  const off = (model: keyof typeof MODELS): number =>
    Math.abs(MODELS[model](samplesOf(classes), PAGES).pagesAfter(2000) - wanted);
  expect(off('followed curve')).toBeLessThan(off('one class'));
  expect(off('one class')).toBeLessThan(off('constant rate'));
});

test('what a prediction does not reckon with is named', () => {
  const convergence = { ...DEFAULT_CONVERGENCE, throttle: Throttle.THROTTLE_AUTO_CONVERGE };
  const all = predictAll(probed(CALM), { ...options, convergence }, firstCalibration());
  expect(all.map(({ prediction }) => [prediction.technique, prediction.leftOut])).toEqual([
    ['stop-and-copy', ''],
    ['pre-copy', 'throttle auto-converge'],
    ['post-copy', ''],
    ['hybrid', 'throttle auto-converge'],
  ]);
});

test('pages that become less are sent compressed where that meets a goal which is missed otherwise', () => {
  const goal = { ...NO_LIMIT, maxTotalTimeMs: 2500 };
  const calm = { ...probed(CALM), compressedShare: 0.5 };
  const { candidates, chosen: index, meetsGoal } = choose(calm, options, goal, firstCalibration());
  expect(candidates[index]!.prediction.parameters).toBe('compression lz4');
  expect(candidates[index]!.options.transforms?.compression).toBe(Compression.COMPRESSION_LZ4);
  expect(meetsGoal).toBe(true);
});
