/** A small, valid guest for the coordinator's tests. */
import { GuestSpec, RateUnit } from '../../../proto/generated/godwit/v1/guest.ts';

export function guestSpec(name: string, memoryBytes = 1024 * 1024): GuestSpec {
  return GuestSpec.create({
    name,
    memoryBytes: BigInt(memoryBytes),
    vcpuCount: 1,
    seed: 1n,
    content: {},
    workload: { kind: 'idle', rateUnit: RateUnit.RATE_UNIT_PAGES_PER_S },
  });
}
