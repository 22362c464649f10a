/** A small, valid guest for the coordinator's tests. */
import { type GuestSpec, RateUnit } from '../../../proto/generated/godwit/v1/guest.ts';

export function guestSpec(name: string, memoryBytes = 1024 * 1024): GuestSpec {
  return {
    name,
    memoryBytes: BigInt(memoryBytes),
    vcpuCount: 1,
    deviceStateBytes: 0n,
    seed: 1n,
    content: { zero: 0, duplicate: 0, shared: 0, compressible: 0 },
    workload: {
      kind: 'idle',
      rate: 0,
      rateUnit: RateUnit.RATE_UNIT_PAGES_PER_S,
      workingSetBytes: 0n,
      hot: 0,
      theta: 0,
      read: 0,
      scan: 0,
      scanLength: 0,
      pagesPerRequest: 0,
      responseBytes: 0,
      phases: [],
      trace: Buffer.alloc(0),
    },
    network: undefined,
  };
}
