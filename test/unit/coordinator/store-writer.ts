/**
 * Moves one guest to and fro in a state file for ever and says each change once it was answered; to be
 * killed.
 */
import { writeSync } from 'node:fs';
import { OwnershipStore } from '../../../coordinator/ownership-store.ts';
import { guestSpec } from './guest-specs.ts';

const store = new OwnershipStore(process.argv[2] ?? '');
store.createGuest(guestSpec('g'), 'host-1', 1n);
for (let round = 0; ; round++) {
  const source = round % 2 === 0 ? 'host-1' : 'host-2';
  const destination = round % 2 === 0 ? 'host-2' : 'host-1';
  const key = { guest: 'g', epoch: BigInt(round) + 1n, migration: `m${round}` };
  if (!store.beginHandover(key, source, destination)) throw new Error('not begun');
  writeSync(1, `begun ${round}\n`);
  if (!store.closeHandover(key, 'destination')) throw new Error('not closed');
  writeSync(1, `closed ${round}\n`);
}
