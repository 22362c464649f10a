/** Small guests for the tests of hosts/guest, and waiting for what they do. */

import { setTimeout as sleep } from 'node:timers/promises';
import { Guest } from '../../../hosts/guest/guest.ts';
import { DEADLINES_MS } from '../../../proto/deadlines.ts';
import { type GuestSpec, RateUnit, type WorkloadSpec } from '../../../proto/generated/godwit/v1/guest.ts';

const MEBIBYTE = 1024n * 1024n;

const WORKLOAD: WorkloadSpec = {
  kind: 'uniform',
  rate: 0,
  rateUnit: RateUnit.RATE_UNIT_PAGES_PER_S,
  workingSetBytes: 0n,
  hot: 0.9,
  theta: 0.99,
  read: 0.5,
  scan: 0.1,
  scanLength: 10,
  pagesPerRequest: 0,
  responseBytes: 0,
  phases: [],
  trace: Buffer.alloc(0),
};

/** A guest of 1 MiB with one vCPU that writes random pages as fast as it can, unless told otherwise. */
export function guestSpec(
  workload: Partial<WorkloadSpec> = {},
  { mebibytes = 1, vcpuCount = 1 }: { mebibytes?: number; vcpuCount?: number } = {},
): GuestSpec {
  return {
    name: 'subject',
    memoryBytes: BigInt(mebibytes) * MEBIBYTE,
    vcpuCount,
    deviceStateBytes: 0n,
    seed: 42n,
    content: { zero: 0.2, duplicate: 0.1, shared: 0.1, compressible: 0.5 },
    workload: { ...WORKLOAD, ...workload },
    network: undefined,
  };
}

/** Waits until a condition holds; the deadline is the test's. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(1);
}

/** Waits until the guest has made so many page writes more than it has now. */
export async function untilWritten(guest: Guest, pageWrites: number): Promise<void> {
  const goal = guest.series.counts().pageWrites + pageWrites;
  await until(() => guest.series.counts().pageWrites >= goal || guest.failure !== undefined);
  if (guest.failure !== undefined) throw guest.failure;
}

/** The guests of a test file, ended together. */
export class Guests {
  readonly #guests: Guest[] = [];

  async create(...args: Parameters<typeof Guest.create>): Promise<Guest> {
    return this.#keep(await Guest.create(...args));
  }

  async incoming(...args: Parameters<typeof Guest.incoming>): Promise<Guest> {
    const guest = this.#keep(await Guest.incoming(...args));
    await guest.control.waitParkedAsync(DEADLINES_MS.threadStart);
    // A NIC that the test itself connects comes later.
    if (args[1] !== undefined) await guest.control.waitNicAsync(DEADLINES_MS.uplink);
    return guest;
  }

  async destroyAll(): Promise<void> {
    await Promise.all(this.#guests.splice(0).map((guest) => guest.destroy()));
  }

  #keep(guest: Guest): Guest {
    this.#guests.push(guest);
    return guest;
  }
}
