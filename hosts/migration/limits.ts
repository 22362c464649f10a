/**
 * Every limit of a migration's data path in one place: what may come from outside, and how much is on its way
 * at once.
 */

import { GUEST_LIMITS } from '../../proto/guest-spec.ts';
import { MIGRATION_LIMITS } from '../../proto/migration-options.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { FREE_LIST_STATE_BYTES } from '../guest/free-list-layout.ts';
import { VCPU_STATE_BYTES } from '../guest/shared-guest.ts';

const MEBIBYTE = 1024 * 1024;

/** What a frame may be (docs/wire.md). */
export const WIRE_LIMITS = {
  channelsMax: MIGRATION_LIMITS.channelsMax,
  pageCountMax: GUEST_LIMITS.memoryBytesMax / PAGE_BYTES,
  /** A table is small, so that it fits the buffer for heads; whatever is larger is payload. */
  tableBytesMax: 2048,
  runsMax: 256,
  /** One data run that goes from memory to memory. */
  longRunPagesMax: MEBIBYTE / PAGE_BYTES,
  /** Pages of a frame that is gathered from several runs. */
  gatheredPagesMax: 64,
  /** What they are, compressed or not, in a CODED frame; and its runs, which share the table with its head. */
  codedBytesMax: 64 * PAGE_BYTES,
  codedRunsMax: 255,
  /** Payloads that arrived in a time in which the destination did not come to say so. */
  arrivedBytesMax: 1024 * MEBIBYTE,
  vcpuCountMax: GUEST_LIMITS.vcpuCountMax,
  vcpuStateBytesMax: VCPU_STATE_BYTES,
  deviceStateBytesMax: GUEST_LIMITS.deviceStateBytesMax,
  freeListBytes: FREE_LIST_STATE_BYTES,
  ledgerPayloadBytesMax: MEBIBYTE,
  /** A bit per page of the greatest guest. */
  bitmapBytesMax: GUEST_LIMITS.memoryBytesMax / PAGE_BYTES / 8,
  /** Of a bitmap that goes in parts: what fits a table. */
  bitmapPartBytesMax: 1024,
  /** Pages that a WANTED names, and hashes of contents that an OFFER brings: what fits a table. */
  wantedPagesMax: 256,
  offeredHashesMax: 128,
  /** Each vCPU waits for one page at most. */
  requestPagesMax: GUEST_LIMITS.vcpuCountMax,
  /** Reasons and names are cut to this many characters. */
  textLengthMax: 256,
} as const;

/** How the source and the destination behave. */
export const MOVER_LIMITS = {
  /** Accepted connections that have not yet said HELLO; the oldest of more is refused. */
  pendingConnectionsMax: MIGRATION_LIMITS.channelsMax + 8,
  /** What a channel has handed to its socket and not yet seen written. */
  outstandingBytesMax: 4 * MEBIBYTE,
  /**
   * Runs from this length on go without a copy; a copy of fewer pages costs less than a system call for them.
   */
  longRunPagesMin: 16,
  /** A frame under a bandwidth limit takes no longer than this, as far as whole pages allow. */
  limitedFrameMs: 10,
  /** A bandwidth limit that asks for a shorter wait is not waited for: timers are no finer. */
  limitWaitMsMin: 1,
  /** How long the sender scans memory without listening to anybody. */
  breathMs: 20,
  /** How often the destination tells what has arrived, while anything does. */
  arrivedIntervalMs: 5,
  /** How often the destination tells that bytes still arrive. */
  aliveIntervalMs: 1000,
  /** Pages that are pushed between two looks at what is demanded. */
  pushPagesMax: 32,
  /** What the push has sent and the destination not yet placed: a demanded page may wait behind it. */
  pushWindowBytesMin: MEBIBYTE / 16,
  /** While nothing has been measured, and on a short link for as long as demanded pages do not wait behind it. */
  pushSpareBytesMax: MEBIBYTE / 4,
  /** So long a demanded page may wait behind the push. */
  pushQueueMsMax: 0.5,
  pushWindowBytesMax: 64 * MEBIBYTE,
  /** A shorter time says nothing about a rate: what was placed is told in bursts. */
  pushRateMsMin: 10,
  /** How long a measured rate and round trip count, and once more. */
  pushWindowPeriodMs: 5000,
  /** How long the guest's accesses are watched when the switch is to know what it needs most. */
  accessWindowMs: 100,
  /** Between two attempts to connect to the source again. */
  reconnectIntervalMs: 200,
  /** How much of its other guests a destination looks through to offer it, and how much without listening. */
  offeredPagesMax: 262_144,
  offeredPagesAtOnce: 1024,
  /** Round trips that measure the offset of two machines' clocks. */
  clockSamples: 8,
  progressIntervalMs: 50,
  /** Over so long the link's rate is measured, in slices of at least so much in which bytes waited for it. */
  linkWindowMs: 700,
  linkSliceMs: 50,
  /** What waits for less may have waited for a thread. */
  linkQueueMsMin: 3,
  /** Frames that have left and of which the destination has said nothing: more than can be on their way. */
  linkFlightsMax: 262_144,
  /** For so long the shortest way counts, and once more. */
  linkPeriodMs: 5000,
  /** How often an estimate of the link goes into the report, and how many there are at most. */
  estimateIntervalMs: 100,
  estimatesMax: 600,
  /** How often those are asked who steer a pre-copy while it sends a round. */
  governorTickMs: 50,
  /** KubeVirt's monitor: how often it looks whether there is progress. */
  progressSampleMs: 400,
  /** How long a guest may take to give back its free pages before its migration goes on. */
  balloonWaitMs: 250,
  /** Steps of rules that a report tells of. */
  decisionsMax: 1000,
} as const;
