/** The limits and the tuned numbers of hosts/network, in one place. */

/**
 * What one relay forwards at a time; more connections are reset, so that a loop cannot eat the machine's
 * sockets.
 */
export const CONNECTIONS_MAX = 4096;
export const PORTS_MAX = 1024;

/** The default queue in front of a link: what a thread that wakes late finds to make up for the time. */
export const QUEUE_MS = 20;
export const QUEUE_BYTES_MIN = 64 * 1024;

/**
 * What may be in flight on a link that delays but has no rate: a window of the kernel's greatest receive
 * buffer. 32 MiB over 100 ms are 2.7 Gbit/s.
 */
export const UNLIMITED_FLIGHT_BYTES = 32 * 1024 * 1024;

/**
 * The link takes bytes in pieces of at most this much time, within these sizes. Smaller ones are closer to
 * packets, and cost a turn of the scheduler each.
 */
export const PIECE_MS = 0.5;
export const PIECE_BYTES_MIN = 1024;
export const PIECE_BYTES_MAX = 64 * 1024;

/**
 * How far back bytes of a held connection may count as ready: further than a busy machine keeps a thread from
 * running, and short enough to be no burst.
 */
export const REACH_BACK_MS_MAX = 100;

/** setTimeout may come this much late, so the rest of the time is slept in naps. */
export const TIMER_COARSE_MS = 2;

/** One nap: what may arrive meanwhile is seen this much late at most. */
export const NAP_MS = 0.2;

/** A sleep of the kernel is this much longer than asked (the default timer slack of a thread, prctl(2)). */
export const SLEEP_SLACK_MS = 0.05;

/** What is due within this time goes now. */
export const EARLY_MS = 0.05;

/**
 * The relay moves what is due, and then looks again after this time at the soonest. Under load this makes
 * batches, which halves what the relay takes of the processor; a single message does not notice.
 */
export const BATCH_MS = 0.3;

/**
 * What a relay itself costs a message, from the sender's write to its own: it is part of the delay that was
 * asked for. Measured: a round trip over two relays without delay, four passes, takes 0.4 to 0.5 ms longer
 * than without relays.
 */
export const PASS_MS = 0.12;

/** The names that make up an ingress device's name must fit into the kernel's 15 characters. */
export const DEVICE_NAME_CHARACTERS_MAX = 15;

/** What HTB lets an idle link send at once: less would cost accuracy at the rates where its timer is late. */
export const TC_BURST_MS = 1;

/** HTB has no "unlimited": 400 Gbit/s, which no device of this kind reaches. */
export const TC_UNLIMITED_BYTES_PER_S = 50_000_000_000;

/** What a probe may ask for, and how many of them are answered at a time. */
export const PROBE_ROUND_TRIPS_MAX = 1_000;
export const PROBE_MS_MAX = 60_000;
export const PROBE_CONNECTIONS_MAX = 64;

/** How often traffic of a set rate goes on, and how often its sender is told what has arrived. */
export const TRAFFIC_OFFER_MS = 2;
export const TRAFFIC_TOLD_MS = 50;
/** What of it waits in its sender, besides the kernel's buffers; what is more is dropped. */
export const TRAFFIC_WAITING_BYTES_MAX = 64 * 1024;

/** What of a measurement differs from what was asked by more than this is flagged. */
export const FLAG_SHARE = 0.03;
export const FLAG_MS = 1;
