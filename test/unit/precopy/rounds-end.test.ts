/**
 * Goal: whatever a rule says, the rounds end within the migration's limits, what follows is what `on-timeout` says,
 * and nobody is paused for longer than the downtime limit unannounced. Ramps and timeouts come at their times.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DOWNTIME_RAMPS, STOP_RULES } from '../../../proto/convergence.ts';
import { OnTimeout } from '../../../proto/generated/godwit/v1/migration.ts';
import { leaving, MEMORY_PAGES, optionsWith, type Round, Rounds } from './rounds.ts';

const { ON_TIMEOUT_ABORT, ON_TIMEOUT_POST_COPY, ON_TIMEOUT_STOP_AND_COPY } = OnTimeout;
const GIBIBYTE = 2 ** 30;
const HOUR_MS = 3_600_000;

/** A guest that leaves as much as it finds, for ever: at 10,000 pages/s a pause of 900 ms. */
const HOPELESS: Round = { sent: 9000, left: 9000 };

describe('every rule', () => {
  const pages = fc.integer({ min: 0, max: MEMORY_PAGES });
  const round = fc.record({
    ...{ sent: pages, left: pages, ms: fc.integer({ min: 1, max: 20_000 }) },
    bandwidthPagesPerS: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 500_000 })),
  });
  const setting = fc.record({
    rule: fc.constantFrom(...STOP_RULES.names),
    ramp: fc.constantFrom(...DOWNTIME_RAMPS.names),
    onTimeout: fc.constantFrom(ON_TIMEOUT_ABORT, ON_TIMEOUT_STOP_AND_COPY, ON_TIMEOUT_POST_COPY),
    technique: fc.constantFrom('pre-copy', 'hybrid'),
    maxRounds: fc.integer({ min: 1, max: 40 }),
    totalTimeLimitMs: fc.integer({ min: 1, max: 300_000 }),
    downtimeLimitMs: fc.integer({ min: 0, max: 2000 }),
    progressTimeoutMs: fc.constantFrom(0, 5000),
  });

  test('ends within the limits, and announces a pause that is longer than allowed, or that nobody knows', () => {
    const many = fc.array(round, { minLength: 40, maxLength: 40 });
    fc.assert(
      fc.property(setting, many, ({ rule, ramp, progressTimeoutMs, ...changes }, series) => {
        const stopRule = STOP_RULES.of(rule);
        const downtimeRamp = DOWNTIME_RAMPS.of(ramp);
        const options = optionsWith(
          { stopRule, downtimeRamp, progressTimeoutMs },
          { ...changes, switchAfterRounds: 0 },
        );
        const rounds = new Rounds(options);
        const { maxRounds, totalTimeLimitMs, downtimeLimitMs, onTimeout, technique } = changes;
        let elapsedMs = 0;
        for (const each of series) {
          const wasInTime = rounds.count < maxRounds && elapsedMs < totalTimeLimitMs;
          elapsedMs += each.ms;
          let isOver: boolean;
          try {
            isOver = rounds.next(each);
          } catch (error) {
            expect(String(error)).toContain(`does not converge (${rounds.end.reason})`);
            expect([onTimeout, technique, rounds.end.goesOnAsPostCopy]).toEqual([
              ON_TIMEOUT_ABORT,
              'pre-copy',
              false,
            ]);
            return;
          }
          expect(wasInTime).toBe(true);
          expect(rounds.end.reason === '').toBe(!isOver);
          if (!isOver) continue;
          const expectedMs = each.left === 0 ? 0 : (each.left / each.bandwidthPagesPerS) * 1000;
          const isAllowed = each.left === 0 || (each.bandwidthPagesPerS > 0 && expectedMs <= downtimeLimitMs);
          if (technique === 'hybrid') expect(rounds.end.goesOnAsPostCopy).toBe(true);
          const isPause = !rounds.end.goesOnAsPostCopy;
          expect(rounds.said).toHaveLength(isPause && !isAllowed ? 1 : 0);
          return;
        }
        expect.unreachable('rounds without end');
      }),
      { numRuns: 500 },
    );
  });

  test.each(STOP_RULES.names)('%s is bounded for a guest that never changes', (rule) => {
    const options = optionsWith(
      { stopRule: STOP_RULES.of(rule) },
      { maxRounds: 7, totalTimeLimitMs: HOUR_MS },
    );
    expect(new Rounds(options).run(Array.from({ length: 8 }, () => HOPELESS))).toBeDefined();
  });
});

describe('a pause that is longer than the downtime limit', () => {
  test('is announced with both times and the reason, by the rule', () => {
    const rounds = new Rounds(optionsWith({ stopRule: STOP_RULES.of('xen-v2') }));
    rounds.run(Array.from({ length: 5 }, () => HOPELESS));
    const what =
      'xen-v2 pauses the guest for about 900.0 ms, longer than its downtime limit of 300 ms (max-iterations): 5 rounds';
    expect(rounds.said).toEqual([what]);
    expect(rounds.log.decisions).toMatchObject([{ rule: 'xen-v2', value: 900 }]);
  });

  test('is announced when a limit ends the rounds, and when nobody knows how long it will be', () => {
    const rounds = new Rounds(optionsWith({}, { maxRounds: 1 }));
    expect(rounds.run([{ ...HOPELESS, bandwidthPagesPerS: 0 }])).toEqual([1, 'max-rounds']);
    expect(rounds.said[0]).toMatch(
      /^on-timeout pauses the guest for nobody knows how long, whatever its downtime limit of 300 ms \(/,
    );
  });

  test('is on record even when other rules have filled it', () => {
    const rounds = new Rounds(optionsWith({}, { maxRounds: 1 }));
    for (let step = 1; step <= 1200; step++) rounds.log.note('sdps', 'sleeps', step);
    rounds.run([HOPELESS]);
    expect(rounds.log.decisions).toHaveLength(1000);
    expect(rounds.decided.at(-1)).toContain('on-timeout: pauses the guest');
  });

  test('is no pause when the rest follows as post-copy', () => {
    const rounds = new Rounds(optionsWith({}, { maxRounds: 1, onTimeout: ON_TIMEOUT_POST_COPY }));
    expect(rounds.run([HOPELESS])).toEqual([1, 'max-rounds']);
    expect(rounds.end.goesOnAsPostCopy).toBe(true);
    expect(rounds.said).toEqual([]);
    expect(rounds.decided).toEqual(['on-timeout: goes on as post-copy (max-rounds): 1 rounds are over']);
  });
});

describe('timeouts', () => {
  test('count a started GiB as one', () => {
    for (const [bytes, limitMs] of [
      [1, 10_000],
      [GIBIBYTE, 10_000],
      [GIBIBYTE + 1, 20_000],
    ] as const) {
      const rounds = new Rounds(optionsWith({ completionTimeoutPerGibMs: 10_000 }), bytes);
      expect([rounds.isCutAt(limitMs - 1, 9), rounds.isCutAt(limitMs, 9)]).toEqual([false, true]);
      expect(rounds.run([HOPELESS])).toEqual([1, 'completion-timeout']);
    }
  });

  test('see progress when less remains than at the last look, 400 ms before', () => {
    const rounds = new Rounds(optionsWith({ progressTimeoutMs: 2000 }));
    const looks: [number, number][] = [
      ...([
        [0, 100],
        [400, 100],
        [800, 99],
        [1200, 150],
        [1599, 1],
        [2700, 150],
      ] as [number, number][]),
      // It is too early for another look.
      [2801, 150],
    ];
    for (const [atMs, pages] of looks) expect(rounds.isCutAt(atMs, pages)).toBe(false);
    expect(rounds.isCutAt(3100, 150)).toBe(true);
    expect(rounds.run([HOPELESS])).toEqual([1, 'progress-timeout']);
    expect(rounds.said[0]).toContain('(progress-timeout): what remains has not become less for 2 s');
  });

  test('do not end a migration whose rest fits', () => {
    const rounds = new Rounds(
      optionsWith({ stopRule: STOP_RULES.of('fixed-rounds') }, { totalTimeLimitMs: 500 }),
    );
    expect(rounds.run([{ sent: 100, left: 100 }])).toEqual([1, 'converged']);
  });

  test('do not give up a migration whose rest fits the downtime limit, wherever the ramp stands', () => {
    const changes = { onTimeout: ON_TIMEOUT_ABORT, downtimeLimitMs: 1000 };
    const nova = { downtimeRamp: DOWNTIME_RAMPS.of('nova') };
    const inTime = new Rounds(optionsWith(nova, { ...changes, totalTimeLimitMs: 500 }));
    expect(inTime.run([HOPELESS])).toEqual([1, 'converged']);
    const counted = new Rounds(optionsWith(nova, { ...changes, maxRounds: 2 }));
    expect(counted.run([HOPELESS, HOPELESS])).toEqual([2, 'converged']);
  });

  test('give up where that was asked for, and say how it stood', () => {
    const changes = { onTimeout: ON_TIMEOUT_ABORT, totalTimeLimitMs: 500 };
    const rounds = new Rounds(optionsWith({}, changes));
    expect(() => rounds.run([HOPELESS])).toThrow(
      'the guest does not converge (total-time-limit): in round 1 9000 pages are still to be sent, an expected ' +
        'downtime of 900.0 ms; allowed is 300 ms',
    );
  });
});

describe('whoever asks for the switch', () => {
  test('gets it in the middle of a round, and before the rule is asked', () => {
    const rounds = new Rounds(optionsWith({}));
    expect(rounds.isCutAt(1, 9)).toBe(false);
    rounds.request.request();
    expect(rounds.isCutAt(2, 9)).toBe(true);
    expect(rounds.run(leaving([0]))).toEqual([1, 'switch-by-hand']);
    expect(rounds.end.goesOnAsPostCopy).toBe(true);
  });

  test('comes too late when the rounds have ended', () => {
    const rounds = new Rounds(optionsWith({}));
    rounds.run(leaving([0]));
    expect([rounds.request.request(), rounds.end.goesOnAsPostCopy]).toEqual([false, false]);
  });
});

describe('a ramp', () => {
  /** The limits that it went through, each with the time since the acceptance, s. */
  function steps(
    ramp: 'nova' | 'kubevirt',
    limitMs: number,
    stepMs: number,
    memoryBytes: number,
  ): [number, number][] {
    const options = optionsWith(
      { downtimeRamp: DOWNTIME_RAMPS.of(ramp), downtimeRampStepMs: stepMs },
      { downtimeLimitMs: limitMs, maxRounds: 1000, totalTimeLimitMs: HOUR_MS },
    );
    const rounds = new Rounds(options, memoryBytes);
    const seen: [number, number][] = [];
    for (let second = 1; second <= 1600; second++) {
      rounds.isCutAt(second * 1000, 9);
      const { value = 0 } = rounds.log.decisions.at(-1) ?? {};
      if (value !== seen.at(-1)?.[1]) seen.push([second, value]);
      if (second <= 5) rounds.next(HOPELESS);
    }
    return seen;
  }

  test("nova's climbs from a tenth in ten steps, 75 s apart for each GiB and for two at least", () => {
    const values = [50, 95, 140, 185, 230, 275, 320, 365, 410, 455, 500];
    expect(steps('nova', 500, 0, 1)).toEqual(values.map((value, index) => [Math.max(150 * index, 1), value]));
    expect(steps('nova', 400, 30_000, 3 * GIBIBYTE)).toEqual(
      [40, 76, 112, 148, 184, 220, 256, 292, 328, 364, 400].map((value, index) => [
        Math.max(90 * index, 1),
        value,
      ]),
    );
  });

  test("KubeVirt's climbs from 150 ms in seven steps, 10 s apart and from the third round on", () => {
    const values = [150, 300, 450, 600, 750, 900, 1050].map((value, index) => [
      Math.max(10 * index, 1),
      value,
    ]);
    expect(steps('kubevirt', 1200, 0, GIBIBYTE)).toEqual([...values, [70, 1200]]);
    // The third round begins after 2 s here, and is seen at 3 s.
    expect(steps('kubevirt', 1200, 1000, GIBIBYTE).slice(0, 3)).toEqual([
      [1, 150],
      [3, 300],
      [4, 450],
    ]);
    // Nothing to climb.
    expect(steps('kubevirt', 100, 0, GIBIBYTE)).toEqual([[1, 100]]);
  });

  test('is what the downtime limit is measured against', () => {
    const downtimeRamp = DOWNTIME_RAMPS.of('nova');
    const rounds = new Rounds(
      optionsWith({ downtimeRamp, downtimeRampStepMs: 1000 }, { downtimeLimitMs: 500 }),
    );
    // 1500 pages are 150 ms; a step is 2 s.
    expect(rounds.run(Array.from({ length: 30 }, () => ({ sent: 1500, left: 1500 })))).toEqual([
      6,
      'converged',
    ]);
    expect(rounds.decided.at(-1)).toBe('nova: the downtime limit is 185 ms');
  });
});
