/**
 * How long vCPUs waited for missing pages, in shared memory: each vCPU counts its own faults, others
 * read at any time. Latencies go into buckets that grow by an eighth of an octave, as in an HDR
 * histogram: a percentile is at most 9 % too high, whatever its size.
 */

const SUB_BUCKETS = 8;
const OCTAVES = 28;
/** The upper bound of the first bucket; the last one takes everything above 2 minutes. */
const FIRST_UP_TO_MS = 0.001;
const BUCKETS = SUB_BUCKETS * OCTAVES;

// The doubles of one vCPU.
const FAULTS = 0;
const WAITED = 1;
const OVERLAPPED = 2;
const LONGEST = 3;
const FIRST_BUCKET = 8;
const DOUBLES = FIRST_BUCKET + BUCKETS;

/** The room for one vCPU's statistics. */
export const FAULT_STATISTICS_BYTES = DOUBLES * Float64Array.BYTES_PER_ELEMENT;

export interface FaultBucket {
  /** Faults that took at most this, and more than the bucket before. */
  readonly upToMs: number;
  readonly faults: number;
}

export interface FaultStatistics {
  /** All that have begun; what follows is of those that are over. */
  readonly faults: number;
  /** The time in which all vCPUs waited at once. */
  readonly blocktimeMs: number;
  readonly vcpuBlocktimeMs: number[];
  /** The buckets that are not empty, ascending. */
  readonly latency: FaultBucket[];
  readonly latencyMaxMs: number;
}

/** The vCPU's side. */
export class FaultRecorder {
  readonly #values: Float64Array<SharedArrayBuffer>;

  /** @param faults `SharedGuest.faults` */
  constructor(faults: SharedArrayBuffer, vcpu: number) {
    this.#values = new Float64Array(faults, vcpu * FAULT_STATISTICS_BYTES, DOUBLES);
  }

  get waitedMs(): number {
    return this.#values[WAITED] as number;
  }

  /** A fault begins. */
  begin(): void {
    this.#add(FAULTS, 1);
  }

  /** It is over. */
  end(latencyMs: number): void {
    this.#add(WAITED, latencyMs);
    this.#add(FIRST_BUCKET + bucketOf(latencyMs), 1);
    this.#values[LONGEST] = Math.max(this.#values[LONGEST] as number, latencyMs);
  }

  /** This vCPU was the first to go on after all had waited so long at once. */
  recordOverlap(durationMs: number): void {
    this.#add(OVERLAPPED, durationMs);
  }

  #add(index: number, amount: number): void {
    this.#values[index] = (this.#values[index] as number) + amount;
  }
}

/** What all vCPUs have counted so far. */
export function readFaultStatistics(faults: SharedArrayBuffer): FaultStatistics {
  const values = new Float64Array(faults);
  const vcpuCount = values.length / DOUBLES;
  const of = (vcpu: number, index: number): number => values[vcpu * DOUBLES + index] as number;
  const vcpus = Array.from({ length: vcpuCount }, (_, vcpu) => vcpu);
  const sum = (index: number): number => vcpus.reduce((total, vcpu) => total + of(vcpu, index), 0);
  const latency: FaultBucket[] = [];
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const count = sum(FIRST_BUCKET + bucket);
    if (count > 0) latency.push({ upToMs: FIRST_UP_TO_MS * 2 ** (bucket / SUB_BUCKETS), faults: count });
  }
  return {
    faults: sum(FAULTS),
    blocktimeMs: sum(OVERLAPPED),
    vcpuBlocktimeMs: vcpus.map((vcpu) => of(vcpu, WAITED)),
    latency,
    latencyMaxMs: Math.max(...vcpus.map((vcpu) => of(vcpu, LONGEST))),
  };
}

function bucketOf(latencyMs: number): number {
  const bucket = Math.ceil(Math.log2(latencyMs / FIRST_UP_TO_MS) * SUB_BUCKETS);
  return Math.min(Math.max(bucket, 0), BUCKETS - 1);
}
