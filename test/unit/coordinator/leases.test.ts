/** Leases under a clock of our own: who is called dead and when, and what comes before a lease. */
import { afterEach, expect, test } from 'vitest';
import { HostAdmission } from '../../../coordinator/host-admission.ts';
import type { HandoverQuestion } from '../../../coordinator/host-port.ts';
import { OwnershipStore } from '../../../coordinator/ownership-store.ts';
import { Registry } from '../../../coordinator/registry.ts';
import type { Standing } from '../../../coordinator/resolve-handover.ts';
import { GuestState } from '../../../proto/generated/godwit/v1/guest.ts';
import { guestSpec } from './guest-specs.ts';

let nowMs = 0;
const stores: OwnershipStore[] = [];
afterEach(() => {
  for (const store of stores.splice(0)) store.close();
});

function registryWith(formerLeaseMs: number, incarnations = new Map<string, string>()): Registry {
  nowMs = 0;
  const events = { emit: () => {} };
  return new Registry({ clock: { nowMs: () => nowMs }, events, leaseMs: 1_000, formerLeaseMs, incarnations });
}

const request = (host: string, incarnation = 'p1', state?: GuestState) => ({
  ...{ host, address: `${host}:1`, capacityBytes: 1n, incarnation },
  guests:
    state === undefined
      ? []
      : [{ guest: 'g', epoch: 1n, state, spec: undefined, migration: '', failure: '' }],
});
const beat = (host: string) => ({ host, incarnation: 'p1', stats: undefined, guests: [] });

test('a host lives a lease and a tenth from each heartbeat, then is dead until it registers again', () => {
  const registry = registryWith(1_000);
  registry.grant(request('a'));
  nowMs = 1_000;
  expect(registry.renew(beat('a'))).toBe(true);
  nowMs = 2_099;
  expect(registry.liveness('a')).toBe('alive');
  nowMs = 2_101;
  expect(registry.liveness('a')).toBe('dead');
  expect(registry.renew(beat('a'))).toBe(false);
  registry.grant(request('a'));
  expect(registry.liveness('a')).toBe('alive');
});

test('a host that is drained stays so until it is undone, or another process has its name', () => {
  const registry = registryWith(0);
  const isDraining = (): boolean | undefined => registry.find('a')?.isDraining;
  registry.grant(request('a'));
  expect(isDraining()).toBe(false);
  registry.setDraining('a', true);
  registry.renew(beat('a'));
  registry.grant(request('a'));
  expect(isDraining()).toBe(true);
  registry.setDraining('a', false);
  expect(isDraining()).toBe(false);
  registry.setDraining('a', true);
  registry.grant(request('a', 'p2'));
  expect(isDraining()).toBe(false);
});

test('a new coordinator calls nobody dead for the longest lease that the one before may have given', () => {
  const registry = registryWith(5_000, new Map([['a', 'former']]));
  nowMs = 5_499;
  expect(registry.liveness('a')).toBe('unknown');
  expect(() => registry.refuseTaken('a', 'p1')).toThrow('another process had the host name "a"');
  expect(() => registry.refuseTaken('a', 'former')).not.toThrow();
  nowMs = 5_501;
  expect(registry.liveness('a')).toBe('dead');
  expect(() => registry.refuseTaken('a', 'p1')).not.toThrow();
});

test('a host gets its lease after it heard what was decided, also what is decided meanwhile', async () => {
  const registry = registryWith(0);
  const store = new OwnershipStore(':memory:');
  stores.push(store);
  store.createGuest(guestSpec('g'), 'a', 1n);
  const decide = (migration: string): void => {
    store.beginHandover({ guest: 'g', epoch: 1n, migration }, 'a', 'b');
    store.closeHandover({ guest: 'g', epoch: 1n, migration }, 'source');
  };
  decide('m1');
  const told: string[] = [];
  const queryHandover = (_address: string, { migration, decidedOwner }: HandoverQuestion) => {
    told.push(`${migration} ${decidedOwner} ${registry.liveness('b')}`);
    if (migration === 'm1') decide('m2');
    return Promise.resolve<Standing>('abandoned');
  };
  const admission = new HostAdmission({
    registry,
    store,
    hostPort: { queryHandover, destroyGuest: () => Promise.reject(new Error('not to be called')) },
  });
  await admission.register(request('b', 'p1', GuestState.GUEST_STATE_INCOMING));
  expect(told).toEqual(['m1 a dead', 'm2 a dead']);
  expect(registry.liveness('b')).toBe('alive');
});

test('a host that cannot be told gets no lease', async () => {
  const registry = registryWith(0);
  const store = new OwnershipStore(':memory:');
  stores.push(store);
  const silent = () => Promise.reject(new Error('connection refused'));
  const admission = new HostAdmission({
    registry,
    store,
    hostPort: { queryHandover: silent, destroyGuest: silent },
  });
  store.createGuest(guestSpec('g'), 'a', 1n);
  const running = request('b', 'p1', GuestState.GUEST_STATE_RUNNING);
  await expect(admission.register(running)).rejects.toThrow('does not answer at its address b:1');
  expect(registry.liveness('b')).toBe('dead');
  // Destroyed while its host was away: discarded at its return, and only then is the name free.
  store.deleteGuest('g', ['a']);
  await expect(admission.register(request('a', 'p1', GuestState.GUEST_STATE_PAUSED))).rejects.toThrow(
    /refused/,
  );
  expect(store.tombstoneHosts('g')).toEqual(['a']);
  await admission.register(request('a', 'p2'));
  expect(store.tombstoneHosts('g')).toEqual([]);
});
