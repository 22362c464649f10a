/** What a spec and the command line may say about the end of the rounds, and what they are told when it is wrong. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { migrationFromFlags } from '../../../cli/flags-to-spec.ts';
import {
  convergenceOf,
  DEFAULT_CONVERGENCE,
  DOWNTIME_RAMPS,
  STOP_RULES,
} from '../../../proto/convergence.ts';
import { OnTimeout } from '../../../proto/generated/godwit/v1/migration.ts';
import {
  defaultMigrationOptions,
  maySwitchByItself,
  migrationOptionsProblems,
} from '../../../proto/migration-options.ts';
import { parseSpec } from '../../../spec/parse-spec.ts';
import { toPlain } from '../../../spec/plain.ts';

const specOf = (keys: string) => parseSpec(`guest: {}\nmigration: {technique: pre-copy, ${keys}}`, 's.yaml');

describe('the end of the rounds in a spec', () => {
  it("is QEMU's when nothing is said", () => {
    expect(convergenceOf(specOf('channels: 1').variants[0]!.options)).toEqual(DEFAULT_CONVERGENCE);
  });

  it('has a variant for each rule, with the keys that it uses', () => {
    const keys =
      'stop-rule: [xen, stall-detector], downtime-ramp: [none, nova], downtime-ramp-step: [1s, 2s]';
    expect(specOf(keys).variants.map(({ name }) => name)).toEqual([
      'stop-rule=xen',
      'stop-rule=stall-detector downtime-ramp=none',
      'stop-rule=stall-detector downtime-ramp=nova downtime-ramp-step=1s',
      'stop-rule=stall-detector downtime-ramp=nova downtime-ramp-step=2s',
    ]);
  });

  it.each([
    ['stop-rule: xen, downtime-ramp: nova', 'migration.downtime-ramp: '],
    ['downtime-ramp-step: 1s', 'migration.downtime-ramp-step: '],
    ['throttle: [sdps, none], stun-quota: 9', 'pre-copy with throttle: sdps and none does not use this key'],
    ['stall-progress-timeout: 1s', 'migration.stall-progress-timeout: '],
    ['stop-rule: qemu', 'allowed is one of downtime-limit, xen, xen-v2'],
    ['stop-rule: stall-detector, stall-progress-timeout: 0s', 'from 1ms to 1h'],
    ['progress-timeout: 2h', 'from 0s to 1h'],
  ])('is refused for {%s}', (keys, problem) => {
    expect(() => specOf(keys)).toThrow(problem);
  });

  it('is the same again from the stored spec, and from flags', () => {
    const time = fc.integer({ min: 1, max: 3_600_000 }).map((ms) => `${ms}ms`);
    const written = fc.record({
      'stop-rule': fc.constantFrom(...STOP_RULES.names),
      'downtime-ramp': fc.constantFrom(...DOWNTIME_RAMPS.names),
      'downtime-ramp-step': time,
      'stall-progress-timeout': time,
      'completion-timeout-per-gib': time,
      'progress-timeout': time,
    });
    fc.assert(
      fc.property(written, (keys) => {
        const heeds = keys['stop-rule'] === 'downtime-limit' || keys['stop-rule'] === 'stall-detector';
        const used = Object.entries(keys).filter(([key]) => {
          if (key === 'stall-progress-timeout') return keys['stop-rule'] === 'stall-detector';
          if (key === 'downtime-ramp') return heeds;
          return key !== 'downtime-ramp-step' || (heeds && keys['downtime-ramp'] !== 'none');
        });
        const migration = { technique: 'pre-copy', ...Object.fromEntries(used) };
        const resolved = parseSpec(JSON.stringify({ guest: {}, migration }), 's.yaml');
        expect(parseSpec(JSON.stringify(toPlain(resolved)), 's.yaml')).toEqual(resolved);
        const { options } = resolved.variants[0]!;
        expect(migrationOptionsProblems(options)).toEqual([]);
        const flags: Record<string, unknown> = {};
        for (const [key, value] of used)
          flags[key.replace(/-(.)/g, (_, c: string) => c.toUpperCase())] = value;
        expect(convergenceOf(migrationFromFlags(flags))).toEqual(convergenceOf(options));
      }),
      { numRuns: 50 },
    );
  });
});

it("pages may follow without anybody's asking where on-timeout says so", () => {
  const { ON_TIMEOUT_POST_COPY: onTimeout } = OnTimeout;
  const may = (technique: string, changes = {}) =>
    maySwitchByItself({ ...defaultMigrationOptions(technique), ...changes });
  expect([may('pre-copy'), may('pre-copy', { onTimeout }), may('stop-and-copy', { onTimeout })]).toEqual([
    false,
    true,
    false,
  ]);
  expect([may('hybrid'), may('post-copy')]).toEqual([true, true]);
});

it.each([
  [{ stallProgressTimeoutMs: 0 }, 'stall progress timeout is 0 ms; allowed is 1 to 3600000 ms'],
  [{ downtimeRampStepMs: -1 }, 'downtime ramp step is -1 ms; allowed is 0 to 3600000 ms'],
])('a host refuses %o', (change, problem) => {
  const options = {
    ...defaultMigrationOptions('pre-copy'),
    convergence: { ...DEFAULT_CONVERGENCE, ...change },
  };
  expect(migrationOptionsProblems(options)).toEqual([problem]);
});
