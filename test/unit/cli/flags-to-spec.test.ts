/** Flags that are read as a spec's keys. */
import { expect, test } from 'vitest';
import { UsageError } from '../../../cli/exit.ts';
import { guestFlagGiven, guestFromFlags, migrationFromFlags } from '../../../cli/flags-to-spec.ts';
import { RateUnit } from '../../../proto/generated/godwit/v1/guest.ts';
import {
  OnTimeout,
  PostcopyBubble,
  PostcopyPush,
  PostcopyRecovery,
} from '../../../proto/generated/godwit/v1/migration.ts';
import { defaultMigrationOptions } from '../../../proto/migration-options.ts';

test('a migration without flags has the defaults of pre-copy', () => {
  expect(migrationFromFlags({})).toEqual(defaultMigrationOptions('pre-copy'));
});

test('migration flags have the units of a spec', () => {
  const values = { technique: 'stop-and-copy', maxBandwidth: '80mbit', downtimeLimit: '20ms', channels: '4' };
  expect(migrationFromFlags({ ...values, onTimeout: 'abort', limitFinalRound: true })).toMatchObject({
    technique: 'stop-and-copy',
    maxBandwidthBytesPerS: 10_000_000,
    downtimeLimitMs: 20,
    channels: 4,
    onTimeout: OnTimeout.ON_TIMEOUT_ABORT,
    limitFinalRound: true,
  });
});

test('flags of post-copy and hybrid have the form of a spec', () => {
  const values = {
    technique: 'hybrid',
    push: 'bubbling',
    pivots: '3',
    bubble: 'forward',
    accessedFirst: true,
  };
  const more = {
    recovery: 'manual',
    postcopyPreempt: 'false',
    maxPostcopyBandwidth: '8mbit',
    switchAfter: '2s',
    hotSet: '0.1',
  };
  expect(migrationFromFlags({ ...values, ...more })).toMatchObject({
    technique: 'hybrid',
    push: PostcopyPush.POSTCOPY_PUSH_BUBBLING,
    pivots: 3,
    bubble: PostcopyBubble.POSTCOPY_BUBBLE_FORWARD,
    accessedFirst: true,
    recovery: PostcopyRecovery.POSTCOPY_RECOVERY_MANUAL,
    postcopyPreempt: false,
    maxPostcopyBandwidthBytesPerS: 1_000_000,
    switchAfterRounds: 0,
    switchAfterMs: 2000,
    hotSet: 0.1,
  });
  const wrong = { technique: 'hybrid', postcopyPreempt: 'perhaps' };
  expect(() => migrationFromFlags(wrong)).toThrow(/--postcopy-preempt: .*true or false/);
});

test('a flag that the technique does not use is refused by its name', () => {
  expect(() => migrationFromFlags({ hotSet: '0.1' })).toThrow(/--hot-set: pre-copy does not use this key/);
});

test('guest flags make the guest that a spec with the same values makes', () => {
  const values = { memory: '64MiB', vcpus: '2', zero: '0.25', workload: 'hot-cold', hot: '0.9', seed: '7' };
  expect(guestFromFlags('web', { ...values, workingSet: '8MiB', rate: '5000 pages/s' })).toMatchObject({
    name: 'web',
    memoryBytes: 64n << 20n,
    vcpuCount: 2,
    seed: 7n,
    content: { zero: 0.25 },
    workload: {
      kind: 'hot-cold',
      hot: 0.9,
      workingSetBytes: 8n << 20n,
      rate: 5000,
      rateUnit: RateUnit.RATE_UNIT_PAGES_PER_S,
    },
  });
});

test('a guest with clients and no rate does only what they ask', () => {
  const unit = (values: Record<string, string>, hasClients: boolean) =>
    guestFromFlags('db', { workload: 'kv', ...values }, hasClients).workload?.rateUnit;
  expect(unit({}, true)).toBe(RateUnit.RATE_UNIT_REQUESTS_ONLY);
  expect(unit({ rate: '10 ops/s' }, true)).toBe(RateUnit.RATE_UNIT_OPERATIONS_PER_S);
  expect(unit({}, false)).toBe(RateUnit.RATE_UNIT_OPERATIONS_PER_S);
});

test('a wrong value is told by its flag, with what is allowed, and all wrong flags at once', () => {
  const read = (): unknown =>
    migrationFromFlags({ channels: 'many', downtimeLimit: '20', technique: 'magic' });
  expect(read).toThrow(UsageError);
  expect(read).toThrow(/--channels: found "many"; allowed is a whole number from 1 to 16/);
  expect(read).toThrow(/--downtime-limit: .*20ms/);
  expect(read).toThrow(/--technique: found "magic"; allowed is .*pre-copy/);
});

test('a flag that the workload does not use is refused by its name', () => {
  expect(() => guestFromFlags('web', { workload: 'uniform', hot: '0.5' })).toThrow(/--hot: /);
});

test('the first guest flag that was given is found', () => {
  expect(guestFlagGiven({ json: true, host: 'host-1' })).toBeUndefined();
  expect(guestFlagGiven({ workingSet: '8MiB' })).toBe('--working-set');
});
