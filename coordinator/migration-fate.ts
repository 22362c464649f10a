/**
 * What became of a migration whose source has said its last word, or says nothing any more. The witness's
 * record is the only answer; this waits until it gives one.
 */

import { DEADLINES_MS } from '../proto/deadlines.ts';
import { isUnanswered, RpcError } from '../proto/errors.ts';
import type { Clock } from './clock.ts';
import type { GuestWatch } from './guest-watch.ts';
import type { HostClients } from './host-clients.ts';
import type { HandoverKey, OwnershipStore } from './ownership-store.ts';
import type { Registry } from './registry.ts';
import type { Witness } from './witness.ts';

const POLL_MS = 100;

export interface FateModules {
  clock: Clock;
  hosts: HostClients;
  registry: Registry;
  store: OwnershipStore;
  watch: GuestWatch;
  witness: Witness;
}

export interface FateQuestion {
  key: HandoverKey;
  source: string;
  /** The source has said how its part ended, so it does nothing more by itself. */
  isSourceDone: boolean;
  signal: AbortSignal;
}

/**
 * Who has the guest now that the migration is over; empty when it is lost, or was destroyed on its way.
 * @throws RpcError UNAVAILABLE when it could not be said within the deadline.
 */
export async function migrationFate(modules: FateModules, question: FateQuestion): Promise<string> {
  const { clock, store, watch } = modules;
  const { key, signal } = question;
  const deadlineMs = clock.nowMs() + 2 * DEADLINES_MS.resolve;
  while (!signal.aborted && clock.nowMs() < deadlineMs) {
    if (store.guest(key.guest) === undefined) return '';
    const owner = await ownerOnRecord(modules, question);
    if (owner === '') return '';
    if (owner !== undefined) {
      if (watch.lostReason(key.guest) !== undefined) return '';
      if (await hasGuest(modules, question, owner)) return owner;
    }
    await clock.sleep(POLL_MS, signal);
  }
  const why = signal.aborted ? 'the coordinator ends' : 'it cannot be said yet who has the guest';
  throw new RpcError(
    'UNAVAILABLE',
    `migration ${key.migration} of guest "${key.guest}": ${why}; the two hosts bring it to its end, ` +
      'and the list of guests tells then where it is',
  );
}

/** The owner once the handover is not open and cannot be opened any more; empty: lost; undefined: not yet. */
async function ownerOnRecord(modules: FateModules, question: FateQuestion): Promise<string | undefined> {
  const { store, witness } = modules;
  const { key, isSourceDone } = question;
  const closed = store.closedHandover(key.guest, key.migration);
  if (closed !== undefined) return closed.winner;
  const isOpen = store.guest(key.guest)?.handover?.migration === key.migration;
  if (!isOpen && !isSourceDone && !(await isStoppedAtSource(modules, question))) return undefined;
  try {
    // Not open any more, or never begun: then the witness notes that it is over, and a late beginning is
    // refused.
    return (await witness.resolveHandover(key)).owner;
  } catch (error) {
    if (isUnanswered(error)) return undefined;
    throw error;
  }
}

/**
 * Whether the source, which does not speak to us any more, will certainly not begin a handover of this
 * migration.
 */
async function isStoppedAtSource(modules: FateModules, { key, source }: FateQuestion): Promise<boolean> {
  const { hosts, registry } = modules;
  const liveness = registry.liveness(source);
  const known = registry.find(source);
  if (liveness === 'dead') return true;
  if (known === undefined) return false;
  try {
    await hosts.cancelMigration(known.address, key.migration, 'the coordinator lost its line to the source');
    return true;
  } catch (error) {
    // NOT_FOUND: it ended there, or the host is a new process.
    return error instanceof RpcError && error.code === 'NOT_FOUND';
  }
}

/** Whether the owner certainly has the guest: its lease lives and it answers. Otherwise time tells. */
async function hasGuest(modules: FateModules, { key }: FateQuestion, owner: string): Promise<boolean> {
  const { hosts, registry } = modules;
  const known = registry.find(owner);
  if (known === undefined || registry.liveness(owner) !== 'alive') return false;
  try {
    await hosts.guestStats(known.address, key.guest, Number.MAX_SAFE_INTEGER);
    return true;
  } catch {
    return false;
  }
}
