/** Does nothing: the guest whose migration costs the least. */

import { savedParts } from './saved-state.ts';
import type { Workload } from './workload.ts';

export function createIdle(): Workload {
  return {
    operate: () => 0,
    save: () => [],
    load(state) {
      savedParts(state, 0, 'idle');
    },
  };
}
