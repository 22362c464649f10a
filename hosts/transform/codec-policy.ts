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
const NS_PER_S = 1e9;
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
  holdMsMin: 1000,
  /** And in units of the time that the trial lost. */
  holdPerLost: 50,
  /** From these shares of its time on a byte may wait for decoding, or for a processor. */
  decodingShare: 1 / 3,
  busyShare: 0.8,
  /** A rate that has changed by this factor makes what was known of other choices void. */
  changeFactor: 1.3,
} as const;

/** What a codec does to page bytes like those of now. */
export interface CodecCost {
  /** Bytes on the wire for each page byte. */
  readonly ratio: number;
  readonly encodeNsPerByte: number;
  readonly decodeNsPerByte: number;
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

/** Of processor time, about what a page byte takes from memory to memory on both sides without any codec. */
const MOVING_NS_PER_BYTE = 1;

/** Over about so many batches a ratio is a mean. */
const RATIO_MEMORY = 8;

/** No codec: nothing is coded, nothing saved. */
const NONE: CodecCost = { ratio: 1, encodeNsPerByte: 0, decodeNsPerByte: 0 };

export class CodecPolicy {
  readonly #codecCount: number;
  readonly #coderCount: number;
  readonly #coreCount: number;
  #costs: CodecCost[] | undefined;
  #current: number;
  #phase = 0;
  #experience: Experience[] = [];
  #trial: Trial | undefined;
  /** What the path carries, bytes on the wire per ns; undefined before it is known, infinite where coding is slower. */
  #pathBytesPerNs: number | undefined;
  #limitBytesPerNs = Number.POSITIVE_INFINITY;
  #flights: Flight[] = [];
  #sentBytes = 0;
  #placedBytes = 0;
  #window: Window | undefined;

  /**
   * @param codecCount how many there are besides none
   * @param coderCount threads that code at the same time
   * @param coreCount processors of this machine
   * @param start the codec of the first batches: a fast one, for what fills the buffers of a slow link
   *   uncoded costs more than what coding costs on a fast one
   */
  constructor(codecCount: number, coderCount: number, coreCount: number, start = 1) {
    this.#coreCount = coreCount;
    this.#codecCount = codecCount;
    this.#coderCount = Math.max(1, coderCount);
    this.#current = start;
  }

  /** Index of the codec for the next batch; 0 is none. */
  get codec(): number {
    return this.#current;
  }

  /** Batches of one phase have the same codec; to be told to `sent`. */
  get phase(): number {
    return this.#phase;
  }

  /**
   * A pass over pages begins; everything that was sent before has been placed.
   *
   * @param limitBytesPerS what may be sent at most; 0 for unlimited
   */
  begin(limitBytesPerS: number): void {
    this.#limitBytesPerNs = limitBytesPerS === 0 ? Number.POSITIVE_INFINITY : limitBytesPerS / NS_PER_S;
    this.#flights = [];
    this.#placedBytes = this.#sentBytes;
    this.#enter(this.#current);
  }

  /** What all codecs, none left out, did to bytes like those of now. */
  sampled(costs: readonly CodecCost[]): void {
    this.#costs = [NONE, ...costs];
  }

  /** A batch has been coded. What a codec saves follows the batches, not only the samples. */
  coded(codec: number, ratio: number): void {
    const cost = this.#costs?.[codec];
    if (cost === undefined || codec === 0) return;
    (this.#costs as CodecCost[])[codec] = {
      ...cost,
      ratio: cost.ratio + (ratio - cost.ratio) / RATIO_MEMORY,
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
    // More than was sent cannot be.
    this.#placedBytes = Math.min(this.#placedBytes + wireBytes, this.#sentBytes);
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
    this.#pathBytesPerNs = isFull ? window.wireBytes / elapsedNs : this.#limitBytesPerNs;
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
    const guess = Math.min(
      carrying,
      currentNsPerByte - this.#hiddenNsPerByte(current, cost, currentNsPerByte),
    );
    return Math.max(coding, guess);
  }

  /**
   * What looks like a slow path may be the codec itself: decoding in the one thread that places pages, or all of its
   * work where both hosts share the processor. What another codec may spare of it.
   */
  #hiddenNsPerByte(current: CodecCost, other: CodecCost, currentNsPerByte: number): number {
    const { decodingShare, busyShare } = POLICY_LIMITS;
    const decoding = current.decodeNsPerByte;
    const work = current.encodeNsPerByte + decoding;
    const byDecoding = decoding >= currentNsPerByte * decodingShare ? decoding - other.decodeNsPerByte : 0;
    const isBusy = work + MOVING_NS_PER_BYTE >= currentNsPerByte * this.#coreCount * busyShare;
    const spared = (work - other.encodeNsPerByte - other.decodeNsPerByte) / this.#coreCount;
    return Math.max(byDecoding, isBusy ? spared : 0, 0);
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
