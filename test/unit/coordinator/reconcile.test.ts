/** What is done with what a host says that it holds: nothing that may be the only copy is ever destroyed. */
import { describe, expect, test } from 'vitest';
import type { GuestRecord } from '../../../coordinator/ownership-store.ts';
import { decisionsToTell, judgeHeld } from '../../../coordinator/reconcile.ts';
import type { HeldGuest } from '../../../proto/generated/godwit/v1/coordinator.ts';
import { GuestState } from '../../../proto/generated/godwit/v1/guest.ts';
import { guestSpec } from './guest-specs.ts';

const { GUEST_STATE_RUNNING, GUEST_STATE_PAUSED, GUEST_STATE_INCOMING, GUEST_STATE_HANDED_OVER } = GuestState;
const { GUEST_STATE_PARKED } = GuestState;
const still = [GUEST_STATE_INCOMING, GUEST_STATE_HANDED_OVER, GUEST_STATE_PARKED];

const held = (state: GuestState, epoch = 1n): HeldGuest => ({
  guest: 'g',
  epoch,
  state,
  migration: '',
  failure: '',
  spec: guestSpec('g'),
});
const record = (owner: string, epoch = 1n, destination?: string): GuestRecord => ({
  spec: guestSpec('g'),
  owner,
  epoch,
  handover: destination === undefined ? undefined : { migration: 'm', destination },
});
const judge = (heldGuest: HeldGuest, onRecord: GuestRecord | undefined, tombstoned = false) =>
  judgeHeld({ host: 'here', held: heldGuest, record: onRecord, tombstoned });

describe('a held guest', () => {
  test('is kept where it is owned, where it goes to, and wherever it does not run', () => {
    expect(judge(held(GUEST_STATE_RUNNING), record('here'))).toBe('keep');
    expect(judge(held(GUEST_STATE_RUNNING, 2n), record('there', 1n, 'here'))).toBe('keep');
    for (const state of still) expect(judge(held(state), record('there', 2n))).toBe('keep');
  });

  test('is discarded when it runs and another host owns it, unless its epoch is the later one', () => {
    expect(judge(held(GUEST_STATE_RUNNING), record('there', 2n))).toBe('discard');
    expect(judge(held(GUEST_STATE_PAUSED), record('there', 1n))).toBe('discard');
    expect(judge(held(GUEST_STATE_RUNNING, 3n), record('there', 2n))).toBe('keep');
  });

  test('is discarded when it was destroyed while its host was away', () => {
    expect(judge(held(GUEST_STATE_RUNNING), undefined, true)).toBe('discard');
  });

  test('that is on no record is adopted when it runs and tells its spec, and left alone otherwise', () => {
    expect(judge(held(GUEST_STATE_RUNNING), undefined)).toBe('adopt');
    expect(judge({ ...held(GUEST_STATE_RUNNING), spec: undefined }, undefined)).toBe('stranger');
    for (const state of still) expect(judge(held(state), undefined)).toBe('stranger');
  });
});

test('a host that was away is told how the last handover ended, and all that its copy may have lost', () => {
  const closed = (migration: string, epoch: bigint, winner: string) => ({
    ...{ guest: 'g', migration, epoch, winner },
    ...{ source: 'here', destination: 'there' },
  });
  const latestFirst = [closed('m4', 3n, 'here'), closed('m3', 3n, 'there'), closed('m2', 1n, 'there')];
  const names = (state: GuestState, epoch: bigint): string[] =>
    decisionsToTell('here', held(state, epoch), latestFirst).map(({ migration }) => migration);
  expect(names(GUEST_STATE_RUNNING, 3n)).toEqual(['m4', 'm3']);
  expect(names(GUEST_STATE_PARKED, 3n)).toEqual(['m4', 'm3', 'm2']);
  expect(names(GUEST_STATE_RUNNING, 1n)).toEqual(['m4', 'm3', 'm2']);
});
