/** What a NIC's thread is started with, what it says, and what it is told. Types only. */

import type { SharedGuest } from '../guest/shared-guest.ts';
import type { UplinkSettings } from './uplinks.ts';

export interface NicWorkerData {
  readonly shared: SharedGuest;
  readonly uplink: UplinkSettings;
}

export type FromNic =
  /** The uplink stands, or, with a problem, does not. */
  | { readonly type: 'started'; readonly problem: string | undefined }
  | { readonly type: 'trouble'; readonly problem: string };

/** There is one thing to be told: to close. */
export type ToNic = 'close';
