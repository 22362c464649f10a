/** The free list of a guest's kernel, which travels in the pause behind the state of its devices. */

import { FreeList, freeListStateBytes } from '../guest/free-list.ts';
import type { SharedGuest } from '../guest/shared-guest.ts';
import { WireViolation } from './channel-receiver.ts';

/** Writes it down, if the guest has one; answers where it ends. The guest stands still. */
export function saveFreeList(shared: SharedGuest, into: Uint8Array, offset: number): number {
  if (freeListStateBytes(shared.spec) === 0) return offset;
  const state = new Uint8Array(new FreeList(shared).save().buffer);
  into.set(state, offset);
  return offset + state.byteLength;
}

/** Reads it in a guest that has not run here. @throws WireViolation */
export function loadFreeList(shared: SharedGuest, state: Uint8Array): void {
  if (state.byteLength === 0) return;
  try {
    new FreeList(shared).load(new Float64Array(Uint8Array.from(state).buffer));
  } catch (error) {
    throw new WireViolation(`DEVICE_STATE: ${(error as Error).message}`);
  }
}
