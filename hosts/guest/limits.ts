/** The limits of hosts/guest, in one place. */

/** How many faults an audit lists; all are counted. */
export const AUDIT_FAULTS_MAX = 100;

/**
 * How much of what it is behind a paced vCPU catches up; more is forgotten, as by a machine that was too
 * slow.
 */
export const BACKLOG_MS_MAX = 100;

/** A paced vCPU sleeps at least this long: more wake-ups would cost more than they smooth. */
export const SLEEP_MS_MIN = 1;

/** And at most this long, when nothing is due for a while; a command wakes it at once. */
export const SLEEP_MS_MAX = 1000;

/**
 * A vCPU that is slowed to p percent less stands still for so much of each timeslice: QEMU's
 * CPU_THROTTLE_TIMESLICE.
 */
export const THROTTLE_TIMESLICE_MS = 10;

/** What it may owe of that at most, and what it is credited when it stood still for longer than it was to. */
export const OWED_MS_MAX = 1000;
export const THROTTLE_CREDIT_MS_MAX = 100;

/** How much work lies between two safepoints. */
export const BATCH_MS_MAX = 0.05;

/** And how many operations, at most. */
export const BATCH_OPERATIONS_MAX = 4096;

/** How often the counters of a guest's operations are sampled, and how many samples are kept: 10 minutes. */
export const SERIES_INTERVAL_MS = 20;
export const SERIES_SAMPLES_MAX = 30_000;

/** A guest's kernel and its free pages (guest-kernel.ts). */
export const KERNEL_LIMITS = {
  /** A page takes it one to three microseconds, and so does a block. */
  allocationsAtOnce: 16,
  blocksAtOnce: 16,
  /** 4 MiB, the largest block of Linux' page allocator, which is what its hints are made of. */
  blockPagesMax: 1024,
  /** How soon it tries again when nobody has taken its reports yet. */
  reportRetryMs: 1,
  /** Hines and Gopalan have some 5 s; a guest here has moved by then. */
  balloonIntervalMs: 500,
  /** What of its free pages it keeps, and how much it takes back at once. */
  balloonReserveShare: 1 / 16,
  balloonReservePagesMax: 1024,
  deflatePages: 256,
} as const;
