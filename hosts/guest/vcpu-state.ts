/** What a vCPU takes along when its guest moves, and how it is written: one MessagePack map. */

import { Packr } from 'msgpackr';
import type { PacerState } from './pacer.ts';

export interface VcpuSave extends PacerState {
  /** Since boot, on all hosts. */
  readonly operations: number;
  readonly pageWrites: number;
  /** What the workload's `save` answered. */
  readonly workload: unknown;
}

const NUMBERS = ['guestTimeMs', 'caughtUpMs', 'unitsDone', 'operations', 'pageWrites'] as const;

/** Plain maps: a record's structure would stay behind in the packer of the other host. */
const packr = new Packr({ useRecords: false });

export function encodeVcpuState(save: VcpuSave): Uint8Array {
  return packr.pack(save);
}

/**
 * @throws when the bytes, which came over the network, are not a vCPU's state; the workload checks its own
 *   part
 */
export function decodeVcpuState(bytes: Uint8Array): VcpuSave {
  const decoded: unknown = packr.unpack(bytes);
  if (typeof decoded !== 'object' || decoded === null) throw unreadable(`found ${typeof decoded}, not a map`);
  const save = decoded as Record<string, unknown>;
  for (const name of NUMBERS) {
    const value = save[name];
    if (typeof value === 'number' && value >= 0 && Number.isFinite(value)) continue;
    throw unreadable(`${name} is ${String(value)}; allowed is a number from 0`);
  }
  return save as unknown as VcpuSave;
}

function unreadable(why: string): Error {
  return new Error(`loading a vCPU's state: ${why}; the state was damaged on its way`);
}
