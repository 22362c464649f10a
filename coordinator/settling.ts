/**
 * A host hears that a handover was settled a moment after the witness has recorded it, and until then it does
 * not let go of the guest. Who asks in that moment is not to be refused for it.
 */

import { DEADLINES_MS } from '../proto/deadlines.ts';
import { RpcError } from '../proto/errors.ts';
import type { Clock } from './clock.ts';

const RETRY_MS = 20;

/** Does `act`; when it is refused with FAILED_PRECONDITION soon after the settling, again until it is not. */
export async function afterSettling<Result>(
  clock: Clock,
  settledAtMs: number | undefined,
  act: () => Promise<Result>,
): Promise<Result> {
  for (;;) {
    try {
      return await act();
    } catch (error) {
      const isRefused = error instanceof RpcError && error.code === 'FAILED_PRECONDITION';
      const isRecent = clock.nowMs() < (settledAtMs ?? -Infinity) + DEADLINES_MS.commitAnswer;
      if (!isRefused || !isRecent) throw error;
      await clock.sleep(RETRY_MS);
    }
  }
}
