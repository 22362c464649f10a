/** The limits of the contracts' own messages: what coordinator and hosts refuse, whoever asks. */

import { describe, expect, it } from 'vitest';
import type { Announce, GuestSpec } from '../../../proto/generated/godwit/v1/guest.ts';
import { FailpointAction, type MigrationOptions } from '../../../proto/generated/godwit/v1/migration.ts';
import { announceDelayMs, DEFAULT_ANNOUNCE } from '../../../proto/guest-network.ts';
import { guestSpecProblems } from '../../../proto/guest-spec.ts';
import { defaultMigrationOptions, migrationOptionsProblems } from '../../../proto/migration-options.ts';
import { parseSpec } from '../../../spec/parse-spec.ts';

const { guest } = parseSpec('guest: {memory: 1MiB}\nmigration: {technique: pre-copy}', 's.yaml');
const content = { zero: 0, duplicate: 0, shared: 0, compressible: 0 };

describe('guestSpecProblems', () => {
  it.each<[string, Partial<GuestSpec>, string]>([
    ['a name with a space', { name: 'a b' }, 'is not a name'],
    ['memory below 1 MiB', { memoryBytes: 4096n }, 'memory is 4096 bytes'],
    ['memory above 16 GiB', { memoryBytes: 2n ** 34n + 4096n }, 'from 1 MiB to 16 GiB'],
    ['half a page', { memoryBytes: 2n ** 20n + 2048n }, 'a multiple of 4096 bytes'],
    ['no vCPU', { vcpuCount: 0 }, 'vcpu count is 0; allowed is 1 to 8'],
    ['nine vCPUs', { vcpuCount: 9 }, 'vcpu count is 9'],
    ['a great device state', { deviceStateBytes: 2n ** 26n + 1n }, 'at most 64 MiB'],
    ['no content', { content: undefined }, 'content is missing'],
    [
      'a share that is no number',
      { content: { ...content, compressible: Number.NaN } },
      'compressible is NaN',
    ],
    ['more than all pages', { content: { ...content, zero: 0.6, shared: 0.5 } }, 'at most 1'],
    [
      'half a page of an image',
      { content: { ...content, imageBytes: 2048n } },
      'content image is 2048 bytes',
    ],
    ['no workload', { workload: undefined }, 'workload is missing'],
  ])('refuses %s', (_, change, problem) => {
    expect(guestSpecProblems(guest)).toEqual([]);
    expect(guestSpecProblems({ ...guest, ...change })).toEqual([expect.stringContaining(problem)]);
  });
});

describe('guestSpecProblems of a guest with a network', () => {
  const kv = { ...guest.workload!, kind: 'kv' };
  const forwarded = {
    address: '',
    port: 0,
    forwarder: 'outside:7000',
    token: 't',
    announce: DEFAULT_ANNOUNCE,
  };
  const addressed = { ...forwarded, address: '10.0.2.1', port: 80, forwarder: '' };
  const connected: GuestSpec = { ...guest, memoryBytes: 2n ** 21n, workload: kv, network: forwarded };

  it.each<[string, Partial<GuestSpec>, string]>([
    ['neither address nor forwarder', { network: { ...forwarded, forwarder: '' } }, 'neither of address'],
    ['both of them', { network: { ...forwarded, address: '10.0.2.1' } }, 'both of address and forwarder'],
    ['a name for an address', { network: { ...addressed, address: 'web' } }, 'allowed is an IPv4 address'],
    ['an address without a port', { network: { ...addressed, port: 0 } }, 'port is 0; allowed is 1 to 65535'],
    [
      'a forwarder with a port of the guest',
      { network: { ...forwarded, port: 80 } },
      'port is 80; allowed is 0',
    ],
    ['a forwarder without a port', { network: { ...forwarded, forwarder: 'x' } }, 'allowed is ADDRESS:PORT'],
    [
      'a forwarder at no port',
      { network: { ...forwarded, forwarder: 'x:65536' } },
      'allowed is ADDRESS:PORT',
    ],
    ['a long token', { network: { ...forwarded, token: 't'.repeat(257) } }, '257 characters'],
    ['no announcements', { network: { ...forwarded, announce: undefined } }, 'announce is missing'],
    ['no round', announcing({ rounds: 0 }), 'announce rounds is 0; allowed is 1 to 1000'],
    ['a delay without end', announcing({ delayMs: Number.NaN }), 'announce delay is NaN ms'],
    ['a step of nothing', announcing({ stepMs: 0 }), 'announce step is 0 ms; allowed is 1 to 10000 ms'],
    ['memory that its queues fill', { memoryBytes: 2n ** 20n }, 'at least 2 MiB'],
    ['a workload that answers nobody', { workload: guest.workload }, 'kind is "idle", which answers nobody'],
  ])('refuses %s', (_, change, problem) => {
    expect(guestSpecProblems({ ...connected, network: addressed })).toEqual([]);
    expect(guestSpecProblems(connected)).toEqual([]);
    expect(guestSpecProblems({ ...connected, ...change })).toEqual([expect.stringContaining(problem)]);
  });

  function announcing(change: Partial<Announce>): Partial<GuestSpec> {
    return { network: { ...forwarded, announce: { ...DEFAULT_ANNOUNCE, ...change } } };
  }
});

it('announces a guest as far apart as QEMU does', () => {
  const delays = (announce: Announce) => [1, 2, 3, 4, 5].map((round) => announceDelayMs(announce, round));
  expect(delays(DEFAULT_ANNOUNCE)).toEqual([0, 50, 150, 250, 350]);
  expect(delays({ ...DEFAULT_ANNOUNCE, delayMs: 7, maxMs: 200 })).toEqual([7, 50, 150, 200, 200]);
});

describe('migrationOptionsProblems', () => {
  const { FAILPOINT_ACTION_KILL, FAILPOINT_ACTION_DELAY, FAILPOINT_ACTION_HOLD } = FailpointAction;

  it.each<[string, Partial<MigrationOptions>, string]>([
    ['an unknown technique', { technique: 'teleport' }, 'technique is "teleport"'],
    ['17 channels', { channels: 17 }, 'channels is 17; allowed is 1 to 16'],
    ['a downtime limit that is no number', { downtimeLimitMs: Number.NaN }, 'downtime limit is NaN ms'],
    ['a negative bandwidth', { maxBandwidthBytesPerS: -1 }, 'allowed is 0 (unlimited) or'],
    ['no round', { maxRounds: 0 }, 'max rounds is 0'],
    ['no time', { totalTimeLimitMs: 0 }, 'total time limit is 0 ms'],
    ['no word on timeouts', { onTimeout: 0 }, 'allowed is abort, stop-and-copy or post-copy'],
    ['no word on the push', { push: 0 }, 'allowed is none, sequential or bubbling'],
    ['no word on bubbles', { bubble: 0 }, 'allowed is dual or forward'],
    ['ten pivots', { pivots: 10 }, 'pivots is 10; allowed is 1 to 9'],
    ['a trickle of a push', { maxPostcopyBandwidthBytesPerS: 1 }, 'max post-copy bandwidth is 1 bytes/s'],
    ['more than all memory', { switchAfterShare: 1.5 }, 'switch after share is 1.5; allowed is 0 to 1'],
    ['a hot set that is no number', { hotSet: Number.NaN }, 'hot set is NaN'],
    ['a delay without end', { failpoints: [delay('setup', 600_001)] }, 'the duration is 600001 ms'],
    ['two faults at a point', { failpoints: [delay('setup', 1), delay('setup', 1)] }, 'given twice'],
    ['a fault nowhere', { failpoints: [delay('lunch', 1)] }, 'failpoint is "lunch"'],
  ])('refuses %s', (_, change, problem) => {
    const options = { ...defaultMigrationOptions('pre-copy'), ...change };
    expect(migrationOptionsProblems(options)).toEqual([expect.stringContaining(problem)]);
  });

  it('accepts the defaults, and each action', () => {
    expect(migrationOptionsProblems(defaultMigrationOptions('stop-and-copy'))).toEqual([]);
    const failpoints = [
      { point: 'setup', action: FAILPOINT_ACTION_KILL, durationMs: 0 },
      { point: 'round-1', action: FAILPOINT_ACTION_HOLD, durationMs: 60_000 },
      delay('before-resume', 5),
    ];
    expect(migrationOptionsProblems({ ...defaultMigrationOptions('pre-copy'), failpoints })).toEqual([]);
  });

  function delay(point: string, durationMs: number) {
    return { point, action: FAILPOINT_ACTION_DELAY, durationMs };
  }
});
