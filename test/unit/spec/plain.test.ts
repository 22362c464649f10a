/** The resolved spec as it is stored: parsing it again must give the same experiment. */

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { specJsonSchema } from '../../../spec/json-schema.ts';
import { parseSpec } from '../../../spec/parse-spec.ts';
import { toPlain } from '../../../spec/plain.ts';

const share = () => fc.double({ min: 0, max: 1, noNaN: true });
const optional = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined });
const pages = () => fc.integer({ min: 1, max: 256 }).map((count) => `${count * 4}KiB`);
const time = (max: number) => fc.double({ min: 1, max, noNaN: true }).map((ms) => `${ms}ms`);
const bandwidth = () => fc.constantFrom('unlimited', '1gbit', '33.3mbit', '7MiB/s');
const targetRate = () =>
  fc.oneof(
    fc.constant('unlimited'),
    fc.integer({ min: 1, max: 10_000_000 }).map((perS) => `${perS} pages/s`),
    fc.double({ min: 0.1, max: 1e6, noNaN: true }).map((perS) => `${perS} ops/s`),
  );

const paced = { rate: optional(targetRate()), 'working-set': optional(pages()) };
const theta = optional(fc.double({ min: 0, max: 0.999, noNaN: true }));
const phase = fc.oneof(
  fc.record({ kind: fc.constant('idle'), duration: time(1e6) }),
  fc.record({
    kind: fc.constant('hot-cold'),
    duration: time(1e6),
    'rate-factor': optional(fc.double({ min: 0, max: 1000, noNaN: true })),
    'working-set': optional(pages()),
    hot: optional(share()),
  }),
);
const workload = fc.oneof(
  fc.constant({ kind: 'idle' }),
  fc.record({ kind: fc.constantFrom('uniform', 'sequential'), ...paced }),
  fc.record({ kind: fc.constant('hot-cold'), ...paced, hot: optional(share()) }),
  fc.record({ kind: fc.constant('zipf'), ...paced, theta }),
  fc.record({
    kind: fc.constant('kv'),
    ...paced,
    theta,
    read: fc.double({ min: 0, max: 0.5, noNaN: true }),
    scan: fc.double({ min: 0, max: 0.4, noNaN: true }),
    'scan-length': optional(fc.integer({ min: 1, max: 256 })),
  }),
  fc.record({
    kind: fc.constant('web'),
    ...paced,
    read: share(),
    'pages-per-request': optional(fc.integer({ min: 1, max: 256 })),
    'response-size': optional(fc.integer({ min: 0, max: 1452 }).map((bytes) => `${bytes}B`)),
  }),
  fc.record({
    kind: fc.constant('phased'),
    rate: fc.constantFrom('10 pages/s', '7.5 ops/s'),
    phases: optional(fc.array(phase, { minLength: 1, maxLength: 4 })),
  }),
);
const failpoint = fc.oneof(
  fc.record({ at: fc.constant('round-1'), do: fc.constant('kill') }),
  fc.record({ at: fc.constant('before-resume'), do: fc.constant('delay'), for: time(600_000) }),
);
const spec = fc.record({
  name: fc.constantFrom('one', 'two.three'),
  seed: fc.maxSafeNat(),
  trials: fc.integer({ min: 1, max: 1000 }),
  'warm-up': time(600_000),
  guest: fc.record({
    memory: fc.integer({ min: 256, max: 2 ** 22 }).map((count) => `${count * 4}KiB`),
    vcpus: fc.integer({ min: 1, max: 8 }),
    'device-state': fc.integer({ min: 0, max: 2 ** 26 }).map((bytes) => `${bytes}B`),
    content: fc.record({
      zero: fc.double({ min: 0, max: 0.5, noNaN: true }),
      compressible: share(),
      image: optional(fc.integer({ min: 1, max: 2 ** 22 }).map((count) => `${count * 4}KiB`)),
    }),
    workload,
  }),
  migration: fc.oneof(
    fc.record({
      technique: fc.constantFrom('pre-copy', ['stop-and-copy', 'pre-copy']),
      'downtime-limit': time(2_000_000),
      'max-bandwidth': bandwidth(),
      'on-timeout': fc.constantFrom('abort', 'stop-and-copy'),
      failpoints: fc.uniqueArray(failpoint, { selector: ({ at }) => at }),
    }),
    fc.record({
      technique: fc.constantFrom('hybrid', ['post-copy', 'hybrid', 'pre-copy']),
      push: fc.constantFrom('bubbling', ['none', 'bubbling'], ['bubbling', 'sequential']),
      pivots: optional(
        fc.oneof(
          fc.integer({ min: 1, max: 9 }),
          fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 3 }),
        ),
      ),
      bubble: fc.constantFrom('dual', 'forward'),
      'accessed-first': fc.boolean(),
      'postcopy-preempt': fc.constantFrom(true, false, [false, true]),
      'max-postcopy-bandwidth': bandwidth(),
      recovery: fc.constantFrom('automatic', ['manual', 'automatic']),
      'recovery-limit': time(3_600_000),
      'switch-after-rounds': optional(fc.integer({ min: 0, max: 1000 })),
      'switch-after-share': optional(share()),
      'switch-after': optional(time(3_600_000)),
      'hot-set': share(),
    }),
    fc.record({
      technique: fc.constant('post-copy'),
      push: fc.constant('none'),
      'total-time-limit': time(1e6),
    }),
  ),
});

describe('the stored spec', () => {
  it('gives the same experiment again', () => {
    fc.assert(
      fc.property(spec, (written) => {
        const resolved = parseSpec(JSON.stringify(written), '/specs/written.yaml');
        const plain = toPlain(resolved);
        const again = parseSpec(JSON.stringify(plain), '/elsewhere/results.json');
        expect(again).toEqual(resolved);
        expect(toPlain(again)).toEqual(plain);
      }),
    );
  });
});

describe('the JSON schema for editors', () => {
  it('stands in docs as the program uses it', () => {
    const committed: unknown = JSON.parse(readFileSync('docs/schema/spec.schema.json', 'utf8'));
    expect(committed).toEqual(JSON.parse(JSON.stringify(specJsonSchema())));
  });

  it('describes every key', () => {
    const undescribed: string[] = [];
    const walk = (schema: ReturnType<typeof specJsonSchema>, path: string): void => {
      for (const [key, inner] of Object.entries(schema.properties ?? {})) {
        if (typeof inner !== 'object') continue;
        if (inner.description === undefined) undescribed.push(`${path}.${key}`);
        walk(inner, `${path}.${key}`);
      }
      if (typeof schema.items === 'object' && !Array.isArray(schema.items)) walk(schema.items, `${path}[]`);
    };
    walk(specJsonSchema(), '');
    expect(undescribed).toEqual([]);
  });
});
