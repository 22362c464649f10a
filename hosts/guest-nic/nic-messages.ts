/** What a NIC's thread is given, what it says, and what it is told. Types only. */

import type { SharedGuest } from '../guest/shared-guest.ts';
import type { UplinkSettings } from './uplinks.ts';

/** A guest's thread that gets it is the NIC's. */
export interface NicWork {
  readonly role: 'nic';
  readonly shared: SharedGuest;
  readonly uplink: UplinkSettings;
}

export type FromNic =
  /** The uplink stands, or, with a problem, does not. */
  | { readonly type: 'started'; readonly problem: string | undefined }
  /** What keeps clients from the guest; empty when nothing does any more. */
  | { readonly type: 'trouble'; readonly problem: string }
  /** It touches nothing of the guest any more; the thread ends when what it sent last has gone. */
  | { readonly type: 'closed' };

/** After its work there is one thing to be told: to close. */
export type ToNic = 'close';
