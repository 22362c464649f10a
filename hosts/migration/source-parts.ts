/**
 * What the source's side of a migration is made of, for the rounds (source-side.ts) and the handover
 * (switchover.ts).
 */

import type { Failpoints } from './failpoints.ts';
import type { SourceMoverData } from './messages.ts';
import type { ProgressBoard } from './progress-board.ts';
import type { Silence } from './silence.ts';
import type { SourceChannel } from './source-channel.ts';
import type { Side } from './wire.ts';

/** The way to the witness, through the main thread. */
export interface Witness {
  /** Resolves when the handover is on record. @throws when it is refused; the guest stays here */
  beginHandover(): Promise<void>;
  /** COMMIT was sent, and no RESUMED came. */
  commitUnanswered(): void;
  /** The guest runs at the destination. */
  resumed(): void;
  /** Who has the guest, when the witness was asked. */
  readonly decided: Promise<Side>;
}

export interface SourceConnections {
  /** At least one; the first is main. */
  readonly channels: readonly SourceChannel[];
  /** For demanded pages, if the options ask for one. */
  readonly priority: SourceChannel | undefined;
}

export interface SourceParts extends SourceConnections {
  readonly data: SourceMoverData;
  /** COMMIT is about to be sent: from now on the destination may open connections again. */
  allowReconnect(): void;
  /** All connections were lost: resolves when the destination, whose guest runs, has opened them again. */
  reconnected(): Promise<SourceConnections>;
  /** Of SentContents: what the destination says that it has of other guests, when it is asked. */
  readonly offered: SharedArrayBuffer | undefined;
  readonly silence: Silence;
  readonly failpoints: Failpoints;
  readonly board: ProgressBoard;
  readonly witness: Witness;
  /** Tells people something that they should know now. */
  readonly say: (note: string) => void;
  /** Resolves when the destination's vCPUs stand ready to run the guest, and its NIC by, or it has had its time. */
  readonly standby: Promise<unknown>;
  /** Ends the migration with its reason. */
  readonly signal: AbortSignal;
}

/** The channels, and the priority channel if there is one. */
export function allChannels({ channels, priority }: SourceConnections): SourceChannel[] {
  return priority === undefined ? [...channels] : [...channels, priority];
}

/** Bytes that the destination is to read on the channels for pages. */
export function streamBytesOf({ channels }: SourceConnections): number {
  let bytes = 0;
  for (const { sender } of channels) bytes += sender.streamBytes;
  return bytes;
}

/** Bytes given to the sockets of these connections so far. */
export function sentBytesOf(connections: SourceConnections): number {
  return allChannels(connections).reduce((sum, { sender }) => sum + sender.sentBytes, 0);
}
