/** Goal: each stop rule ends the rounds where its product or paper does, over rounds that are written down here. */

import { describe, expect, test } from 'vitest';
import {
  BANDWIDTH_RULES,
  DOWNTIME_RAMPS,
  STOP_RULES,
  type StopRuleName,
} from '../../../proto/convergence.ts';
import { type Convergence, OnTimeout } from '../../../proto/generated/godwit/v1/migration.ts';
import { leaving, optionsWith, type Round, Rounds } from './rounds.ts';

const { ON_TIMEOUT_ABORT, ON_TIMEOUT_POST_COPY } = OnTimeout;

function rounds(rule: StopRuleName, changes = {}, convergence: Partial<Convergence> = {}): Rounds {
  return new Rounds(optionsWith({ stopRule: STOP_RULES.of(rule), ...convergence }, changes));
}

function repeated(count: number, round: Round): Round[] {
  return Array.from({ length: count }, () => round);
}

describe("QEMU's rule", () => {
  // 10,000 pages/s: 300 ms are 3000 pages.
  test.each([
    [3001, undefined],
    [3000, [1, 'converged']],
  ])('takes %i pages against what the downtime limit holds', (left, ending) => {
    expect(rounds('downtime-limit').run(leaving([left]))).toEqual(ending);
  });

  test('takes nothing to fit while the bandwidth is not known, but that nothing remains', () => {
    const unknown = { bandwidthPagesPerS: 0 };
    expect(rounds('downtime-limit').run(leaving([1], unknown))).toBeUndefined();
    expect(rounds('downtime-limit').run(leaving([0], unknown))).toEqual([1, 'converged']);
  });

  test('needs no word when it ends as it was wanted', () => {
    const plain = rounds('downtime-limit');
    plain.run(leaving([5000, 10]));
    expect([plain.decided, plain.said]).toEqual([[], []]);
  });
});

describe("Xen's rules", () => {
  test.each<[string, Round[], [number, string] | undefined]>([
    ['a round of fewer than 50 pages', leaving([49, 9000]), [2, 'few-pages']],
    ['a round of 50 pages goes on', leaving([50, 9000]), undefined],
    [
      'skipped pages are of the round',
      [
        { sent: 100_000, left: 60 },
        { sent: 10, had: 60, left: 9 },
      ],
      undefined,
    ],
    ['a round that sent more than the one before', leaving([5000, 6000, 7000]), [3, 'sent-more']],
    ['the first round has none before it', leaving([90_000]), undefined],
    ['three times the memory', leaving([99_999, 99_998, 99_997, 99_996]), [4, 'sent-3x']],
    ['29 rounds', repeated(40, { sent: 500, left: 500 }), [29, 'max-iterations']],
  ])('xen: %s', (_, series, ending) => {
    expect(rounds('xen').run(series)).toEqual(ending);
  });

  test('xen: with the rate of Clark et al. a growing round counts only at the greatest rate', () => {
    const clark = { bandwidthRule: BANDWIDTH_RULES.of('clark') };
    // 6000 pages/s are 197 Mbit/s; 14,000 are 459, and with the margin more than 500.
    const slow = leaving([5000, 6000, 7000]);
    expect(rounds('xen', {}, clark).run(slow)).toBeUndefined();
    const fast = leaving([14_000, 14_500, 15_000]);
    expect(rounds('xen', {}, clark).run(fast)).toEqual([3, 'sent-more']);
    // Which an earlier round had, and the one that grows has not.
    expect(rounds('xen', {}, clark).run(leaving([14_000, 1000, 1500, 2000]))).toBeUndefined();
  });

  test.each<[string, number[], [number, string] | undefined]>([
    ['fewer than 50 dirty pages', [9000, 49], [2, 'few-pages']],
    ['50 go on', [9000, 50], undefined],
    ['five rounds, whatever they bring', [9000, 9000, 9000, 9000, 9000], [5, 'max-iterations']],
  ])('xen-v2: %s', (_, lefts, ending) => {
    expect(rounds('xen-v2').run(leaving(lefts))).toEqual(ending);
  });
});

describe('the rule of Clark et al.', () => {
  test.each<[string, number[], object, [number, string] | undefined]>([
    // 256 KiB are 64 pages.
    ['less than 256 KB remain', [63], {}, [1, 'few-bytes']],
    ['256 KB go on', [64], {}, undefined],
    // 450 Mbit/s are 13,732 pages/s.
    ['the next round would need more than 500 Mbit/s', [13_700, 13_800], {}, [2, 'rate-above-max']],
    [
      'max-bandwidth is the maximum, where it is given',
      [13_800],
      { maxBandwidthBytesPerS: 125e6 },
      undefined,
    ],
  ])('%s', (_, lefts, changes, ending) => {
    expect(rounds('clark', changes).run(leaving(lefts))).toEqual(ending);
  });
});

describe("CloudNet's Smart Stop", () => {
  test.each<[string, number[], [number, string] | undefined]>([
    ['while what remains falls, it goes on', [9000, 8000, 7000, 6000, 5000], undefined],
    ['when it rises, the next minimum is waited for', [9000, 5000, 5500, 5200, 4900], [5, 'local-minimum']],
    ['a guest that writes evenly is at its minimum at once', [9000, 9000], [2, 'local-minimum']],
    ['the window moves on', [100, 300, 300, 300, 300, 299, 298], [7, 'local-minimum']],
    ['fewer than 50 pages are few', [9000, 49], [2, 'few-pages']],
  ])('%s', (_, lefts, ending) => {
    expect(rounds('smart-stop').run(leaving(lefts))).toEqual(ending);
  });
});

describe("p.haul's rule", () => {
  test.each<[string, Round[], [number, string] | undefined]>([
    ['a round of 64 pages', leaving([64, 9000]), [2, 'few-pages']],
    ['65 go on', leaving([65, 9000]), undefined],
    ['10 % more go on', leaving([1000, 1100, 1]), undefined],
    ['over 10 % more', leaving([1000, 1101, 1]), [3, 'grew']],
    ['the ninth round', repeated(20, { sent: 500, left: 500 }), [9, 'max-iterations']],
  ])('%s', (_, series, ending) => {
    expect(rounds('phaul').run(series)).toEqual(ending);
  });
});

test('fixed rounds are as many as were asked for, even when nothing remains', () => {
  expect(rounds('fixed-rounds', { maxRounds: 4 }).run(leaving([0, 0, 0, 0, 0]))).toEqual([4, 'fixed-rounds']);
});

describe("KubeVirt's stall detector", () => {
  const lefts = (values: readonly number[], ms = 10_000): Round[] => leaving(values, { ms });
  const FALLING = [50_000, 40_000, 30_000];

  test('goes on while the least remainder falls by more than 4 % within 40 s', () => {
    const falling = Array.from({ length: 12 }, (_, index) => Math.round(50_000 * 0.95 ** index));
    expect(rounds('stall-detector', { totalTimeLimitMs: 3.6e6 }).run(lefts(falling))).toBeUndefined();
  });

  test('ends at once when the stalled guest is at its best', () => {
    // 30 s: 50,000 leaves the window in the fifth round, 30,000 in the seventh: nothing less has come since.
    const stall = rounds('stall-detector', { totalTimeLimitMs: 3.6e6 });
    expect(stall.run(lefts([...FALLING, 31_000, 30_500, 30_400, 30_200]))).toEqual([7, 'stalled']);
    expect(stall.decided[0]).toMatch(
      /^stall-detector: stalled: what remains no longer becomes less, 120000 KiB/,
    );
  });

  test('waits for a round about as good as the best one', () => {
    const stall = rounds('stall-detector', { totalTimeLimitMs: 3.6e6 });
    const series = [...FALLING, 45_000, 45_000, 45_000, 45_000, 44_000, 31_000];
    expect(stall.run(lefts(series))).toEqual([9, 'stalled']);
  });

  test('lowers its sights after 40 s, then after 20 s', () => {
    const stall = rounds('stall-detector', { totalTimeLimitMs: 3.6e6 });
    // Stalled after 70 s: the best of the next 40 s is 35,000, and then of what comes after it.
    const series = [...FALLING, 45_000, 45_000, 45_000, 45_000, 44_000, 35_000, 44_000, 44_000, 35_100];
    expect(stall.run(lefts(series))).toEqual([12, 'stalled']);
    expect(stall.decided[1]).toBe('stall-detector: waits for 140000 KiB to remain');
  });

  test('ends as QEMU when a round fits the downtime limit', () => {
    expect(rounds('stall-detector').run(lefts([9000, 2900]))).toEqual([2, 'converged']);
  });

  test('on-timeout: post-copy goes on so at the minimum', () => {
    const stall = rounds('stall-detector', { totalTimeLimitMs: 3.6e6, onTimeout: ON_TIMEOUT_POST_COPY });
    stall.run(lefts([...FALLING, 31_000, 30_500, 30_400, 30_200]));
    expect(stall.end.goesOnAsPostCopy).toBe(true);
  });

  test('on-timeout: abort gives up beyond 1.5 times the limit, and within it waits a minute', () => {
    const changes = { totalTimeLimitMs: 3.6e6, onTimeout: ON_TIMEOUT_ABORT };
    const far = rounds('stall-detector', changes);
    const hopeless = lefts([...FALLING, 31_000, 30_500, 30_400, 30_200]);
    expect(() => far.run(hopeless)).toThrow(/does not converge \(stalled\)/);
    // It is stalled after 50 s.
    const near = lefts([4600, 4500, 4400, 4450, 4450, 4450, 4450, 4450, 4450, 4450]);
    const close = rounds('stall-detector', changes);
    expect(close.run([...near, { sent: 4450, left: 3000 }])).toEqual([11, 'converged']);
    expect(() => rounds('stall-detector', changes).run([...near, ...lefts([4450, 4450])])).toThrow(/stalled/);
  });

  test('waits that minute for the downtime limit itself, and for no ramp', () => {
    const changes = { totalTimeLimitMs: 3.6e6, onTimeout: ON_TIMEOUT_ABORT };
    const nova = { downtimeRamp: DOWNTIME_RAMPS.of('nova') };
    const near = lefts([4600, 4500, 4400, 4450, 4450, 4450, 4450]);
    const ramped = rounds('stall-detector', changes, nova);
    expect(ramped.run([...near, { sent: 4450, left: 3000 }])).toEqual([8, 'converged']);
  });

  test('has a window of its own', () => {
    const short = rounds('stall-detector', {}, { stallProgressTimeoutMs: 2000 });
    expect(short.run(leaving([50_000, 40_000, 40_000, 40_000]))).toEqual([4, 'stalled']);
  });
});
