/** What the main thread and the mover threads say to each other. Types only: one union per direction. */

import type { Ticket } from '../../proto/generated/godwit/v1/host.ts';
import type {
  DestinationReport,
  Encryption,
  MigrationOptions,
  SourceReport,
} from '../../proto/generated/godwit/v1/migration.ts';
import type { FailpointName } from '../../proto/names.ts';
import type { SharedGuest } from '../guest/shared-guest.ts';
import type { LentContents, LentGuest } from '../transform/other-guests.ts';
import type { Side } from './wire.ts';

/** What a mover of either side needs. */
interface MoverData {
  readonly migration: string;
  readonly shared: SharedGuest;
  readonly options: MigrationOptions;
  readonly ticket: Ticket;
  /** Of a ProgressBoard. */
  readonly board: SharedArrayBuffer;
}

export interface SourceMoverData extends MoverData {
  /** Of a SwitchRequest. */
  readonly switchRequest: SharedArrayBuffer;
  /** Of SentContents: what the guests that leave with this one have sent, when they are to be compared. */
  readonly gang: SharedArrayBuffer | undefined;
  readonly listenAddress: string;
  readonly acceptedAtMs: number;
}

export interface DestinationMoverData extends MoverData {
  /** What other guests of this host hold, when the guest is to be compared with them. */
  readonly lent: LentContents | undefined;
  readonly sourceAddress: string;
  readonly sourcePort: number;
  /** Whether both hosts read the same clock. */
  readonly sharesClock: boolean;
}

/** The first message to a mover's thread: which side it is, and all that it needs. */
export type MoverWork =
  | { readonly side: 'source'; readonly data: SourceMoverData }
  | { readonly side: 'destination'; readonly data: DestinationMoverData };

/** To either mover. */
type ToMover =
  | { readonly type: 'release-failpoint' }
  /** The migration is to end here; the handover was decided by who says so. */
  | { readonly type: 'stop'; readonly reason: string };

export type ToSourceMover =
  | ToMover
  /** The witness has the handover on record, or why not. */
  | { readonly type: 'handover-begun' }
  | { readonly type: 'handover-refused'; readonly reason: string }
  /** The witness has decided who has the guest. */
  | { readonly type: 'decided'; readonly owner: Side };

export type ToDestinationMover =
  | ToMover
  /** The witness has decided that the guest runs here. */
  | { readonly type: 'resume' }
  /** Whether the link is lost or not: to be answered by `recovery`. */
  | { readonly type: 'recover' }
  /** Of what was lent: another guest came to this host, or is no more. */
  | { readonly type: 'guest-came'; readonly guest: LentGuest }
  | { readonly type: 'guest-gone'; readonly id: number };

/** From either mover. */
type FromMover = { readonly type: 'held'; readonly point: FailpointName } | { readonly type: 'released' };

export type FromSourceMover =
  | FromMover
  | { readonly type: 'listening'; readonly port: number }
  | { readonly type: 'begin-handover' }
  /** A sentence for people. */
  | { readonly type: 'note'; readonly text: string }
  /** The guest runs at the destination. */
  | { readonly type: 'resumed' }
  /** And has every page there. */
  | { readonly type: 'served' }
  /** COMMIT was sent and no RESUMED came. */
  | { readonly type: 'commit-unanswered' }
  /** The last message. Without a reason the destination has the guest. */
  | { readonly type: 'ended'; readonly reason: string; readonly report: SourceReport };

export type FromDestinationMover =
  | FromMover
  | { readonly type: 'connected' }
  /** Everything is here, and READY was sent. */
  | { readonly type: 'ready'; readonly ledgerDigest: string }
  /** READY was sent, and COMMIT did not come, or came when the lease had ended. */
  | { readonly type: 'commit-missing'; readonly reason: string }
  | { readonly type: 'resumed'; readonly resumedAtMs: number }
  /** The try that was asked for is over; the problem is empty when the link is there again. */
  | { readonly type: 'recovery'; readonly problem: string }
  /** The last message. */
  | {
      readonly type: 'ended';
      /** Why the migration ended early; empty when even the ledger came. */
      readonly reason: string;
      readonly ledgerArrived: boolean;
      readonly report: DestinationReport;
    };

/** What the thread for demanded pages is started with. */
export interface FaultThreadData {
  readonly shared: SharedGuest;
  /** A byte for each page: what may hold something. */
  readonly touched: SharedArrayBuffer;
  /** Of PriorityCounts. */
  readonly counts: SharedArrayBuffer;
  readonly ticket: Ticket;
  readonly encryption: Encryption;
  readonly sourceAddress: string;
  readonly sourcePort: number;
  /** The priority channel's number. */
  readonly channel: number;
}

export type ToFaultThread =
  /** Open the connection with this number, in place of the one before. */
  | { readonly type: 'connect'; readonly link: number }
  /** The guest runs here: ask for what it waits for, on the connection as it is now. */
  | { readonly type: 'ask' }
  /** Close the connection as it is now. */
  | { readonly type: 'hang-up' };

export type FromFaultThread =
  | { readonly type: 'welcome'; readonly link: number }
  /** The last missing page has come. */
  | { readonly type: 'complete' }
  | {
      readonly type: 'lost';
      readonly link: number;
      readonly reason: string;
      /** What came is not allowed. */
      readonly isRefused: boolean;
    };
