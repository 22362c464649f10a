/**
 * The one clock of every measure: the machine's monotonic clock. All threads and processes of a machine read
 * the same one, so that times taken on both sides of a migration can be subtracted; between machines they
 * cannot, and `bootId` tells which case it is.
 */

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';

export { nowMs } from '../proto/clock.ts';

const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id';

/**
 * Names the run of the kernel whose clock `nowMs` reads: two hosts with the same id share the clock. Where
 * the system does not tell, it is a random id of this process, which shares its clock with nobody that it
 * knows of.
 */
export function bootId(): string {
  knownBootId ??= readBootId();
  return knownBootId;
}

let knownBootId: string | undefined;

function readBootId(): string {
  try {
    return readFileSync(BOOT_ID_FILE, 'utf8').trim() || randomUUID();
  } catch {
    return randomUUID();
  }
}
