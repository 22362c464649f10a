/**
 * Adaptive compression: which codec, or none, moves most page bytes per second now. A policy and nothing
 * else: it is told what codecs cost and how fast batches leave, and answers what to do with the next batch.
 *
 * The model proposes and the measurement disposes. By the model a batch costs the slower of coding it and of
 * carrying what is left of it. What the model cannot know (what decoding does to a destination on the same
 * cores, how two hosts share a processor) is found out by a trial: a choice that the model prefers is taken
 * for a few milliseconds, and kept only if batches leave faster than before. A choice that lost is not tried
 * again for so long that trials cost at most some two percent, unless the path has changed meanwhile.
 *
 * AdOC (Jeannot, Knutsson, Bjorkman, HPDC 2002) turns a level up or down by the length of the queue between
 * coder and socket; here that queue says whether the path is the slower one, and the rates say the rest.
 */

const NS_PER_MS = 1e6;
const MEBIBYTE = 1024 * 1024;

export const POLICY_LIMITS = {
  /** A window over which a rate is measured lasts at least this long, and has so many bytes on the wire. */
  windowMsMin: 10,
  windowBytesMin: MEBIBYTE,
  /** Windows after which a trial is decided even when it is close. */
  trialWindowsMax: 4,
  /** A trial is decided at its first window when it is faster or slower by this share. */
  clearShare: 0.1,
  /** What the model must promise for a trial. */
  gainMin: 0.01,
  /** The path is the slower side when what is on its way grows by this share of what arrives. */
  growthShare: 0.25,
  /** How long a choice that lost is left alone, at least. Twice as long after each further time. */
  holdMsMin: 500,
  /** And in units of the time that the trial lost. */
  holdPerLost: 50,
  /** A rate that has changed by this factor makes what was known of other choices void. */
  changeFactor: 1.3,
  /** How often the costs of all codecs are measured anew. */
  sampleIntervalMs: 500,
} as const;

/** What a codec does to page bytes like those of now. */
export interface CodecCost {
  /** Bytes on the wire for each page byte. */
  readonly ratio: number;
  readonly encodeNsPerByte: number;
  readonly decodeNsPerByte: number;
}

/** What to do with a batch. */
export interface Choice {
  /** Index of a codec; 0 is none. */
  readonly codec: number;
  /** Batches of one phase have the same codec; to be told to `sent`. */
  readonly phase: number;
  /** Whether to measure all codecs on this batch, and tell `sampled`. */
  readonly sample: boolean;
}

/** A batch that was given to a socket. */
export interface Sent {
  readonly phase: number;
  readonly pageBytes: number;
  readonly wireBytes: number;
  /** Whether the socket had enough then: the path is slower than the coder. */
  readonly isWaiting: boolean;
}

/** A batch on its way: what had been sent with it. */
interface Flight extends Sent {
  readonly endBytes: number;
}

/** What is known of a choice from having used it. */
interface Experience {
  nsPerByte: number;
  /** Until then it counts, and the choice is not tried again. */
  heldUntilMs: number;
  holdMs: number;
}

interface Trial {
  readonly before: number;
  readonly beforeNsPerByte: number;
  readonly startMs: number;
  windows: number;
}

/** A time in which only batches of one phase arrived. */
interface Window {
  readonly startMs: number;
  /** What was on its way then. */
  readonly startBytes: number;
  pageBytes: number;
  wireBytes: number;
  /** Batches that were given to sockets meanwhile, and those of them that had to wait. */
  sends: number;
  waits: number;
}

/** No codec: nothing is coded, nothing saved. */
const NONE: CodecCost = { ratio: 1, encodeNsPerByte: 0, decodeNsPerByte: 0 };

export class CodecPolicy {
  readonly #codecCount: number;
  readonly #coderCount: number;
  #costs: CodecCost[] | undefined;
  #current: number;
  #phase = 0;
  #experience: Experience[] = [];
  #trial: Trial | undefined;
  /** What the path carries, bytes on the wire per ns; undefined before it is known, infinite where coding is slower. */
  #pathBytesPerNs: number | undefined;
  #sampledAtMs = Number.NEGATIVE_INFINITY;
  #flights: Flight[] = [];
  #sentBytes = 0;
  #placedBytes = 0;
  #window: Window | undefined;

  /**
   * @param codecCount how many there are besides none
   * @param coderCount threads that code at the same time
   * @param start the codec of the first batches: a fast one, for what fills the buffers of a slow link
   *   uncoded costs more than what coding costs on a fast one
   */
  constructor(codecCount: number, coderCount: number, start = 1) {
    this.#codecCount = codecCount;
    this.#coderCount = Math.max(1, coderCount);
    this.#current = start;
  }

  /** The codec of now, 0 for none. */
  get codec(): number {
    return this.#current;
  }

  /** What to do with the next batch. */
  next(nowMs: number): Choice {
    const sample = nowMs - this.#sampledAtMs >= POLICY_LIMITS.sampleIntervalMs;
    if (sample) this.#sampledAtMs = nowMs;
    return { codec: this.#current, phase: this.#phase, sample };
  }

  /** A pass over pages begins after a time in which nothing was sent. */
  begin(): void {
    this.#flights = [];
    this.#placedBytes = this.#sentBytes;
    this.#enter(this.#current);
  }

  /** What all codecs, none left out, did to a batch of now. */
  sampled(costs: readonly CodecCost[]): void {
    const before = this.#costs;
    this.#costs = [NONE, ...costs].map((cost, codec) => {
      const old = codec === this.#current ? before?.[codec] : undefined;
      // Of the codec in use more is known than one batch says.
      return old === undefined ? cost : { ...old, decodeNsPerByte: cost.decodeNsPerByte };
    });
  }

  /** A batch has been coded: what its codec did to it. */
  coded(codec: number, cost: Pick<CodecCost, 'ratio' | 'encodeNsPerByte'>): void {
    const old = this.#costs?.[codec];
    if (old === undefined || codec === 0) return;
    const mixed = (a: number, b: number): number => a + (b - a) / 8;
    (this.#costs as CodecCost[])[codec] = {
      ratio: mixed(old.ratio, cost.ratio),
      encodeNsPerByte: mixed(old.encodeNsPerByte, cost.encodeNsPerByte),
      decodeNsPerByte: old.decodeNsPerByte,
    };
  }

  /** A batch was given to a socket, all batches before it as well. */
  sent(batch: Sent): void {
    this.#sentBytes += batch.wireBytes;
    this.#flights.push({ ...batch, endBytes: this.#sentBytes });
    if (this.#window === undefined) return;
    this.#window.sends++;
    if (batch.isWaiting) this.#window.waits++;
  }

  /** The destination has placed so many more bytes of what was sent. */
  placed(wireBytes: number, nowMs: number): void {
    this.#placedBytes += wireBytes;
    const window = this.#window;
    let isOfPhase = false;
    for (let flight = this.#flights[0]; flight !== undefined; flight = this.#flights[0]) {
      if (flight.endBytes > this.#placedBytes) break;
      this.#flights.shift();
      if (flight.phase !== this.#phase) continue;
      isOfPhase = true;
      if (window !== undefined) count(window, flight);
    }
    if (window === undefined) {
      // From here on what arrives is of this phase.
      if (isOfPhase) this.#window = openWindow(nowMs, this.#sentBytes - this.#placedBytes);
      return;
    }
    const { windowMsMin, windowBytesMin } = POLICY_LIMITS;
    if (nowMs - window.startMs >= windowMsMin && window.wireBytes >= windowBytesMin) {
      this.#closeWindow(window, nowMs);
    }
  }

  #closeWindow(window: Window, nowMs: number): void {
    const elapsedNs = (nowMs - window.startMs) * NS_PER_MS;
    const nsPerByte = elapsedNs / window.pageBytes;
    const waySent = this.#sentBytes - this.#placedBytes;
    const grown = waySent - window.startBytes;
    const isFull = window.waits * 2 >= window.sends || grown >= window.wireBytes * POLICY_LIMITS.growthShare;
    this.#pathBytesPerNs = isFull ? window.wireBytes / elapsedNs : Number.POSITIVE_INFINITY;
    this.#window = openWindow(nowMs, waySent);
    const known = this.#experience[this.#current];
    if (this.#trial === undefined && known !== undefined && isOther(nsPerByte, known.nsPerByte)) {
      this.#experience = [];
    }
    this.#learn(this.#current, nsPerByte);
    if (this.#trial === undefined) this.#consider(nsPerByte, nowMs);
    else this.#judge(this.#trial, nsPerByte, nowMs);
  }

  #enter(codec: number): void {
    this.#current = codec;
    this.#phase++;
    this.#window = undefined;
  }

  #learn(codec: number, nsPerByte: number): void {
    const { heldUntilMs = 0, holdMs = 0 } = this.#experience[codec] ?? {};
    this.#experience[codec] = { nsPerByte, heldUntilMs, holdMs };
  }

  /** Begins a trial when the model promises something. */
  #consider(nsPerByte: number, nowMs: number): void {
    let best = this.#current;
    let bestNsPerByte = nsPerByte * (1 - POLICY_LIMITS.gainMin);
    for (let codec = 0; codec <= this.#codecCount; codec++) {
      if (codec === this.#current) continue;
      const expected = this.#expectedNsPerByte(codec, nsPerByte, nowMs);
      if (expected >= bestNsPerByte) continue;
      best = codec;
      bestNsPerByte = expected;
    }
    if (best === this.#current) return;
    this.#trial = { before: this.#current, beforeNsPerByte: nsPerByte, startMs: nowMs, windows: 0 };
    this.#enter(best);
  }

  /** What a page byte would take with this codec. */
  #expectedNsPerByte(codec: number, currentNsPerByte: number, nowMs: number): number {
    const known = this.#experience[codec];
    if (known !== undefined && nowMs < known.heldUntilMs) return known.nsPerByte;
    const path = this.#pathBytesPerNs;
    const cost = this.#costs?.[codec];
    const current = this.#costs?.[this.#current];
    if (path === undefined || cost === undefined || current === undefined) return Number.POSITIVE_INFINITY;
    const coding = cost.encodeNsPerByte / this.#coderCount;
    const carrying = cost.ratio / path;
    const work = current.encodeNsPerByte + current.decodeNsPerByte;
    const saved = work - cost.encodeNsPerByte - cost.decodeNsPerByte;
    // Where the codec's work is most of the time that a byte takes, what looks like a slow path may be the
    // work itself: at the destination, or on a processor that both share.
    const bySaving = work * 4 >= currentNsPerByte * 3 ? currentNsPerByte - saved : Number.POSITIVE_INFINITY;
    return Math.min(Math.max(coding, carrying), Math.max(coding, bySaving));
  }

  #judge(trial: Trial, nsPerByte: number, nowMs: number): void {
    trial.windows++;
    const { trialWindowsMax, clearShare, holdMsMin, holdPerLost } = POLICY_LIMITS;
    const gain = 1 - nsPerByte / trial.beforeNsPerByte;
    if (Math.abs(gain) < clearShare && trial.windows < trialWindowsMax) return;
    this.#trial = undefined;
    const tried = this.#current;
    const loser = gain > 0 ? trial.before : tried;
    const lostMs = (nowMs - trial.startMs) * Math.max(0, -gain / (1 - gain));
    const holdMs = Math.max(holdMsMin, holdPerLost * lostMs, 2 * (this.#experience[loser]?.holdMs ?? 0));
    const loserNsPerByte = gain > 0 ? trial.beforeNsPerByte : nsPerByte;
    this.#experience[loser] = { nsPerByte: loserNsPerByte, heldUntilMs: nowMs + holdMs, holdMs };
    if (gain <= 0) this.#enter(trial.before);
  }
}

function isOther(nsPerByte: number, knownNsPerByte: number): boolean {
  const { changeFactor } = POLICY_LIMITS;
  return nsPerByte > knownNsPerByte * changeFactor || nsPerByte * changeFactor < knownNsPerByte;
}

function openWindow(startMs: number, startBytes: number): Window {
  return { startMs, startBytes, pageBytes: 0, wireBytes: 0, sends: 0, waits: 0 };
}

function count(window: Window, { pageBytes, wireBytes }: Flight): void {
  window.pageBytes += pageBytes;
  window.wireBytes += wireBytes;
}
