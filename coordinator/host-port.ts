/**
 * What the coordinator's core asks of hosts. The live one is in host-clients.ts; a simulation brings its own.
 */

import type { Standing } from './resolve-handover.ts';

export interface HandoverQuestion {
  guest: string;
  migration: string;
  /** The winner when the witness has decided, or empty when it only asks. */
  decidedOwner: string;
}

export interface HostPort {
  /**
   * What the host at this address can say of a handover; `dead` when it knows nothing of it. Rejects when
   * silent.
   */
  queryHandover(address: string, question: HandoverQuestion): Promise<Standing>;
  destroyGuest(address: string, guest: string): Promise<void>;
}
