/**
 * The units of a workload's rate, as in the contract (guest.proto), without the code that encodes its messages: that
 * would be 10 ms of processor time in the start of each vCPU's thread, which has no messages to encode.
 */

import type { RateUnit as Contract } from './generated/godwit/v1/guest.ts';

/** As in the contract. */
export type RateUnit = Contract;

export const RateUnit = {
  RATE_UNIT_UNSPECIFIED: 0,
  RATE_UNIT_PAGES_PER_S: 1,
  RATE_UNIT_OPERATIONS_PER_S: 2,
  RATE_UNIT_REQUESTS_ONLY: 3,
} as const satisfies typeof Contract;
