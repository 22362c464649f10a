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

import { MOVER_LIMITS } from '../migration/limits.ts';

const NS_PER_MS = 1e6;
const NS_PER_S = 1e9;
const MEBIBYTE = 1024 * 1024;

export const POLICY_LIMITS = {
  /** A window over which a rate is measured lasts at least this long, and has so many bytes on the wire. */
  windowMsMin: 10,
  windowBytesMin: MEBIBYTE / 2,
  /** Two windows that differ by no more than this share: the rate is steady, and a trial can tell something. */
  steadyShare: 0.15,
  /** Windows after which a trial is decided even when its rate is not steady. */
  trialWindowsMax: 4,
  /** And at its first window when it is slower by this factor. */
  clearLoss: 1.2,
  /** So many coded batches say how long coding takes. */
  trialBatchesMin: 4,
  /** What the model must promise for a trial. */
  gainMin: 0.01,
  /** By how much a choice must look better whose coding takes more than half of what carrying takes. */
  doubt: 1.2,
  /** For so long at the beginning. */
  doubtMs: 1500,
  /** The path is the slower side when what is on its way grows by this share of what arrives. */
  growthShare: 0.25,
  /** What may always be on its way, and in units of rate times round trip. */
  wayBytesMin: 2 * MEBIBYTE,
  productsOnTheWay: 4,
  /** And so long a link is to be busy while a thread at either end does not get to run. */
  stallMs: 50,
  /** How long a choice that lost is left alone, at least. Twice as long after each further time. */
  holdMsMin: 1000,
  /** And in units of the time that the trial lost. */
  holdPerLost: 50,
  /** So much of its time the mover itself may code. */
  moverShare: 0.5,
  /** From these shares of its time on a byte may wait for decoding, or for a processor. */
  decodingShare: 1 / 3,
  busyShare: 0.8,
  /** When the rate has changed by this factor, other choices may be tried again at once. */
  changeFactor: 2,
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
  readonly sentAtMs: number;
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
  codedBatches: number;
  encodeNsPerByte: number;
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
  #current = 0;
  #phase = 0;
  #experience: Experience[] = [];
  #trial: Trial | undefined;
  /** What the path carries, bytes on the wire per ns; undefined before it is known, infinite where coding is slower. */
  #pathBytesPerNs: number | undefined;
  #limitBytesPerNs = Number.POSITIVE_INFINITY;
  #flights: Flight[] = [];
  #sentBytes = 0;
  #placedBytes = 0;
  #arrival = { sinceMs: 0, bytes: 0 };
  #arrivalBytesPerMs = 0;
  /** The shortest time from sending to knowing that it was placed. */
  #roundTripMs = Number.POSITIVE_INFINITY;
  /** How much slower coding turned out than it was sampled, when it was tried last. */
  #codingFactor = 1;
  #window: Window | undefined;
  /** Of the window before, of this phase. */
  #lastNsPerByte: number | undefined;
  #firstWindowMs = Number.POSITIVE_INFINITY;

  /**
   * @param codecCount how many there are besides none
   * @param coderCount threads that code at the same time
   * @param coreCount processors of this machine
   */
  constructor(codecCount: number, coderCount: number, coreCount: number) {
    this.#coreCount = coreCount;
    this.#codecCount = codecCount;
    this.#coderCount = Math.max(1, coderCount);
  }

  /** Index of the codec for the next batch; 0 is none. */
  get codec(): number {
    return this.#current;
  }

  /**
   * Whether coding takes so much of the time of what is sent that a thread of its own is worth its start. Where it does
   * not the mover codes while the sockets are busy.
   */
  get isCodingHeavy(): boolean {
    const cost = this.#costs?.[this.#current];
    const { nsPerByte } = this.#trial === undefined ? (this.#experience[this.#current] ?? {}) : {};
    const carryingNsPerByte = nsPerByte ?? this.#trial?.beforeNsPerByte;
    if (cost === undefined || carryingNsPerByte === undefined) return false;
    return cost.encodeNsPerByte > carryingNsPerByte * POLICY_LIMITS.moverShare;
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
    this.limit(limitBytesPerS);
    this.#flights = [];
    this.#placedBytes = this.#sentBytes;
    this.#enter(this.#current);
  }

  /** What may be sent at most from now on, bytes per second; 0 for unlimited. */
  limit(bytesPerS: number): void {
    this.#limitBytesPerNs = bytesPerS === 0 ? Number.POSITIVE_INFINITY : bytesPerS / NS_PER_S;
  }

  /** What all codecs, none left out, did to bytes like those of now. */
  sampled(costs: readonly CodecCost[]): void {
    this.#costs = [NONE, ...costs];
  }

  /**
   * A batch has been coded. What a codec saves follows the batches, not only the samples. A trial whose batches take
   * longer to be coded than batches took to arrive before is over.
   */
  coded(codec: number, ratio: number, encodeNsPerByte: number, nowMs: number): void {
    const cost = this.#costs?.[codec];
    if (cost === undefined || codec === 0) return;
    (this.#costs as CodecCost[])[codec] = {
      ...cost,
      ratio: cost.ratio + (ratio - cost.ratio) / RATIO_MEMORY,
    };
    const trial = this.#trial;
    if (trial === undefined || codec !== this.#current) return;
    trial.codedBatches++;
    trial.encodeNsPerByte += encodeNsPerByte;
    if (trial.codedBatches < POLICY_LIMITS.trialBatchesMin) return;
    const coding = trial.encodeNsPerByte / trial.codedBatches / this.#coderCount;
    if (coding > trial.beforeNsPerByte) this.#decide(trial, coding, nowMs);
  }

  /**
   * Whether to send nothing more before something arrives. What is on its way was coded as it once seemed best: so no
   * more than keeps the path busy, some of the product of its rate and its round trip (BBR; Cardwell et al., ACM Queue
   * 2016).
   */
  get isFull(): boolean {
    const { wayBytesMin, productsOnTheWay, stallMs } = POLICY_LIMITS;
    const tripMs = this.#roundTripMs + MOVER_LIMITS.arrivedIntervalMs;
    const wayMs = productsOnTheWay * tripMs + stallMs;
    const wayBytes = this.#arrivalBytesPerMs === 0 ? 0 : this.#arrivalBytesPerMs * wayMs;
    return this.#sentBytes - this.#placedBytes >= Math.max(wayBytesMin, wayBytes);
  }

  /** A batch was given to a socket, all batches before it as well. */
  sent(batch: Sent, nowMs: number): void {
    this.#sentBytes += batch.wireBytes;
    this.#flights.push({ ...batch, endBytes: this.#sentBytes, sentAtMs: nowMs });
    if (this.#window === undefined) return;
    this.#window.sends++;
    if (batch.isWaiting || this.isFull) this.#window.waits++;
  }

  /** The destination has placed so many more bytes of what was sent. */
  placed(wireBytes: number, nowMs: number): void {
    this.#measureArrival(wireBytes, nowMs);
    // More than was sent cannot be.
    this.#placedBytes = Math.min(this.#placedBytes + wireBytes, this.#sentBytes);
    const window = this.#window;
    let isOfPhase = false;
    for (let flight = this.#flights[0]; flight !== undefined; flight = this.#flights[0]) {
      if (flight.endBytes > this.#placedBytes) break;
      this.#flights.shift();
      this.#roundTripMs = Math.min(this.#roundTripMs, nowMs - flight.sentAtMs);
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

  /** The rate of what arrives, over some milliseconds. */
  #measureArrival(wireBytes: number, nowMs: number): void {
    const { sinceMs, bytes } = this.#arrival;
    const elapsedMs = nowMs - sinceMs;
    if (elapsedMs < POLICY_LIMITS.windowMsMin) {
      this.#arrival.bytes += wireBytes;
      return;
    }
    // One time in which the threads did not get to run says little.
    this.#arrivalBytesPerMs = Math.max((bytes + wireBytes) / elapsedMs, this.#arrivalBytesPerMs / 2);
    this.#arrival = { sinceMs: nowMs, bytes: 0 };
  }

  #closeWindow(window: Window, nowMs: number): void {
    const elapsedNs = (nowMs - window.startMs) * NS_PER_MS;
    const nsPerByte = elapsedNs / window.pageBytes;
    const waySent = this.#sentBytes - this.#placedBytes;
    const grown = waySent - window.startBytes;
    const isFull = window.waits * 2 >= window.sends || grown >= window.wireBytes * POLICY_LIMITS.growthShare;
    this.#pathBytesPerNs = isFull ? window.wireBytes / elapsedNs : this.#limitBytesPerNs;
    this.#window = openWindow(nowMs, waySent);
    this.#firstWindowMs = Math.min(this.#firstWindowMs, nowMs);
    const last = this.#lastNsPerByte;
    this.#lastNsPerByte = nsPerByte;
    const isSteady = last !== undefined && Math.abs(nsPerByte / last - 1) <= POLICY_LIMITS.steadyShare;
    if (this.#trial !== undefined) this.#judge(this.#trial, isSteady, nsPerByte, nowMs);
    else if (isSteady) this.#consider(nsPerByte, nowMs);
  }

  #enter(codec: number): void {
    this.#current = codec;
    this.#phase++;
    this.#window = undefined;
    this.#lastNsPerByte = undefined;
  }

  #learn(codec: number, nsPerByte: number): void {
    const { heldUntilMs = 0, holdMs = 0 } = this.#experience[codec] ?? {};
    this.#experience[codec] = { nsPerByte, heldUntilMs, holdMs };
  }

  /** Begins a trial when the model promises something. */
  #consider(nsPerByte: number, nowMs: number): void {
    const known = this.#experience[this.#current];
    if (known !== undefined && isOther(nsPerByte, known.nsPerByte)) {
      this.#experience = this.#experience.map((each) => ({ ...each, heldUntilMs: 0 }));
      this.#codingFactor = 1;
    }
    this.#learn(this.#current, nsPerByte);
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
    const before = { before: this.#current, beforeNsPerByte: nsPerByte, startMs: nowMs };
    this.#trial = { ...before, windows: 0, codedBatches: 0, encodeNsPerByte: 0 };
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
    const coding = (cost.encodeNsPerByte / this.#coderCount) * this.#codingFactor;
    const carrying = cost.ratio / path;
    const guess = Math.min(
      carrying,
      currentNsPerByte - this.#hiddenNsPerByte(current, cost, currentNsPerByte),
    );
    const expected = Math.max(coding, guess, codec === 0 ? 0 : this.#workingNsPerByte(cost));
    // Where the codec takes much of the time it is likely to take more than it says, and a short migration has no time
    // to find out.
    const isYoung = nowMs - this.#firstWindowMs < POLICY_LIMITS.doubtMs;
    return isYoung && coding * 2 > carrying ? expected * POLICY_LIMITS.doubt : expected;
  }

  /** Where both hosts share the processor it has all of the work to do: less time than that no choice takes. */
  #workingNsPerByte({ ratio, encodeNsPerByte, decodeNsPerByte }: CodecCost): number {
    return (MOVING_NS_PER_BYTE * ratio + encodeNsPerByte + decodeNsPerByte) / this.#coreCount;
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

  #judge(trial: Trial, isSteady: boolean, nsPerByte: number, nowMs: number): void {
    trial.windows++;
    const { trialWindowsMax, clearLoss } = POLICY_LIMITS;
    const isClear = nsPerByte > trial.beforeNsPerByte * clearLoss;
    if (isClear || isSteady || trial.windows >= trialWindowsMax) this.#decide(trial, nsPerByte, nowMs);
  }

  /** Keeps what was tried, or goes back to what was before. */
  #decide(trial: Trial, nsPerByte: number, nowMs: number): void {
    this.#trial = undefined;
    const tried = this.#current;
    const { codedBatches, before, beforeNsPerByte } = trial;
    const sampled = this.#costs?.[tried]?.encodeNsPerByte ?? 0;
    // Others will be as much slower than their samples: their thread does not get what those got.
    if (codedBatches > 0 && sampled > 0) {
      this.#codingFactor = Math.max(1, trial.encodeNsPerByte / codedBatches / sampled);
    }
    const isBetter = nsPerByte < beforeNsPerByte;
    const lostMs = isBetter ? 0 : (nowMs - trial.startMs) * (1 - beforeNsPerByte / nsPerByte);
    this.#learn(tried, nsPerByte);
    this.#hold(isBetter ? before : tried, lostMs, nowMs);
    if (!isBetter) this.#enter(before);
  }

  /** Leaves the loser of a trial alone for a time. */
  #hold(codec: number, lostMs: number, nowMs: number): void {
    const { nsPerByte = Number.POSITIVE_INFINITY, holdMs: last = 0 } = this.#experience[codec] ?? {};
    const holdMs = Math.max(POLICY_LIMITS.holdMsMin, POLICY_LIMITS.holdPerLost * lostMs, 2 * last);
    this.#experience[codec] = { nsPerByte, heldUntilMs: nowMs + holdMs, holdMs };
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
