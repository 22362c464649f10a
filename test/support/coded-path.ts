/**
 * A migration's path in virtual time: a mover that gathers batches, threads that code them, buffers, a link, and a
 * destination that decodes and places, all of whose work shares the processor cores of one machine. For the
 * policy that chooses codecs: no thread, no clock, no chance.
 */

import type { CodecCost, CodecPolicy } from '../../hosts/transform/codec-policy.ts';

const BATCH_BYTES = 256 * 1024;
const NS_PER_MS = 1e6;
/** Of the page bytes: what gathering and what placing costs beside the codec. */
const GATHER_NS_PER_BYTE = 0.3;
const PLACE_NS_PER_BYTE = 0.65;
/** Coded bytes that wait for the socket, and batches that wait for a coder. */
const WAITING_BYTES_MAX = 1024 * 1024;
/** How often the destination says what it has placed. */
const TELL_MS = 5;
/** How often the source measures what codecs do. */
const SAMPLE_MS = 500;

export interface CodedPath {
  readonly codecs: readonly CodecCost[];
  /** Bytes per second of the link at a time in ms. */
  readonly rate: (nowMs: number) => number;
  /** The next time after `nowMs` at which the rate may change. */
  readonly nextChangeMs?: (nowMs: number) => number;
  readonly cores: number;
  readonly coders: number;
  readonly bufferBytes: number;
  readonly pageBytes: number;
}

interface Batch {
  readonly codec: number;
  readonly phase: number;
  readonly sample: boolean;
  wireBytes: number;
  state: 'gathered' | 'coding' | 'coded';
  isWritten: boolean;
}

/** Work that is being done: how much is left, in ns of a core or in bytes of the link. */
interface Task {
  left: number;
  readonly done: () => void;
}

/** How long it takes until the last page is placed, ms, when `chooser` decides. */
export function simulate(path: CodedPath, chooser: CodecPolicy): number {
  return new Simulation(path, chooser).run();
}

/** How long it takes with one choice from beginning to end; 0 is none. */
export function simulateFixed(path: CodedPath, codec: number): number {
  const chooser = { codec, phase: 0, isFull: false, coded() {}, sampled() {}, sent() {}, placed() {} };
  return new Simulation(path, chooser).run();
}

type Policy = Pick<CodecPolicy, 'codec' | 'phase' | 'isFull' | 'coded' | 'sampled' | 'sent' | 'placed'>;

class Simulation {
  readonly #path: CodedPath;
  readonly #policy: Policy;
  readonly #batches: Batch[] = [];
  readonly #batchCount: number;
  #nowMs = 0;
  #sampledAtMs = Number.NEGATIVE_INFINITY;
  #mover: Task | undefined;
  #coders: Task[] = [];
  #link: Task | undefined;
  #receiver: Task | undefined;
  #carried = 0;
  #received = 0;
  #written = 0;
  #carriedBytes = 0;
  #receivedBytes = 0;
  #writtenBytes = 0;
  #untoldBytes = 0;
  #tellAtMs = TELL_MS;
  /** Batches that were given to the socket. */
  #sent = 0;

  constructor(path: CodedPath, policy: Policy) {
    this.#path = path;
    this.#policy = policy;
    this.#batchCount = Math.ceil(path.pageBytes / BATCH_BYTES);
  }

  run(): number {
    while (this.#received < this.#batchCount) {
      this.#begin();
      this.#advance();
    }
    return this.#nowMs;
  }

  #cost(codec: number): CodecCost {
    return this.#path.codecs[codec - 1] ?? { ratio: 1, encodeNsPerByte: 0, decodeNsPerByte: 0 };
  }

  #begin(): void {
    if (this.#mover === undefined && this.#hasRoom()) this.#mover = this.#gather();
    for (const batch of this.#batches.slice(this.#written)) {
      if (batch.state !== 'gathered') continue;
      if (batch.codec === 0 && !batch.sample) batch.state = 'coded';
      else if (this.#coders.length < Math.max(1, this.#path.coders)) this.#coders.push(this.#code(batch));
    }
    const next = this.#batches[this.#carried];
    const isFull = this.#carriedBytes - this.#receivedBytes > this.#path.bufferBytes;
    if (this.#link === undefined && next?.state === 'coded' && !isFull) {
      this.#link = {
        left: next.wireBytes,
        done: () => {
          this.#carried++;
          this.#carriedBytes += next.wireBytes;
        },
      };
    }
    if (this.#receiver === undefined && this.#received < this.#carried) this.#receiver = this.#receive();
  }

  #hasRoom(): boolean {
    if (this.#batches.length === this.#batchCount || this.#policy.isFull) return false;
    const waiting = this.#batches.slice(this.#written);
    const codedBytes = waiting.reduce(
      (sum, { state, wireBytes }) => sum + (state === 'coded' ? wireBytes : 0),
      0,
    );
    const uncoded = waiting.filter(({ state }) => state !== 'coded').length;
    return codedBytes < WAITING_BYTES_MAX && uncoded < this.#path.coders + 2;
  }

  #gather(): Task {
    const { codec, phase } = this.#policy;
    const sample = this.#nowMs - this.#sampledAtMs >= SAMPLE_MS;
    if (sample) this.#sampledAtMs = this.#nowMs;
    return {
      left: BATCH_BYTES * GATHER_NS_PER_BYTE,
      done: () => {
        const wireBytes = BATCH_BYTES * this.#cost(codec).ratio;
        this.#batches.push({
          codec,
          phase,
          sample,
          wireBytes,
          state: 'gathered',
          isWritten: false,
        });
      },
    };
  }

  #code(batch: Batch): Task {
    batch.state = 'coding';
    const startMs = this.#nowMs;
    const { encodeNsPerByte, ratio } = this.#cost(batch.codec);
    const { codecs } = this.#path;
    const sampling = batch.sample
      ? codecs.reduce((sum, each) => sum + each.encodeNsPerByte + each.decodeNsPerByte, 0) / 4
      : 0;
    return {
      left: BATCH_BYTES * (encodeNsPerByte + sampling),
      done: () => {
        batch.state = 'coded';
        if (batch.sample) this.#policy.sampled(codecs);
        this.#policy.coded(
          batch.codec,
          ratio,
          ((this.#nowMs - startMs) * NS_PER_MS) / BATCH_BYTES,
          this.#nowMs,
        );
      },
    };
  }

  #receive(): Task {
    const { codec, wireBytes } = this.#batches[this.#received] as Batch;
    return {
      left: BATCH_BYTES * (PLACE_NS_PER_BYTE + this.#cost(codec).decodeNsPerByte),
      done: () => {
        this.#received++;
        this.#receivedBytes += wireBytes;
        this.#untoldBytes += wireBytes;
      },
    };
  }

  /** The destination says what it has placed, now and then. */
  #tell(): void {
    if (this.#nowMs < this.#tellAtMs - 1e-6) return;
    this.#tellAtMs = this.#nowMs + TELL_MS;
    this.#policy.placed(this.#untoldBytes, this.#nowMs);
    this.#untoldBytes = 0;
  }

  /** To the next end of a task, and what follows from it. */
  #advance(): void {
    const { cores, rate, nextChangeMs } = this.#path;
    const working = [this.#mover, ...this.#coders, this.#receiver].filter((task) => task !== undefined);
    const speed = Math.min(1, cores / Math.max(1, working.length));
    const bytesPerNs = rate(this.#nowMs) / 1e9;
    const times = working.map(({ left }) => left / speed);
    if (this.#link !== undefined) times.push(this.#link.left / bytesPerNs);
    if (nextChangeMs !== undefined) times.push((nextChangeMs(this.#nowMs) - this.#nowMs) * NS_PER_MS);
    times.push((this.#tellAtMs - this.#nowMs) * NS_PER_MS);
    const elapsedNs = Math.min(...times);
    this.#nowMs += elapsedNs / NS_PER_MS;
    for (const task of working) task.left -= elapsedNs * speed;
    if (this.#link !== undefined) this.#link.left -= elapsedNs * bytesPerNs;
    this.#mover = this.#ended(this.#mover);
    this.#coders = this.#coders.filter((task) => this.#ended(task) !== undefined);
    this.#link = this.#ended(this.#link);
    this.#receiver = this.#ended(this.#receiver);
    this.#tell();
    this.#write();
  }

  #ended(task: Task | undefined): Task | undefined {
    if (task === undefined || task.left > 1e-3) return task;
    task.done();
    return undefined;
  }

  /** What is coded goes to the socket, and what the buffers hold has been written. */
  #write(): void {
    for (let batch = this.#batches[this.#sent]; batch?.state === 'coded'; batch = this.#batches[this.#sent]) {
      this.#sent++;
      const { phase, wireBytes } = batch;
      const isWaiting = this.#sent - this.#written > 2;
      this.#policy.sent({ phase, pageBytes: BATCH_BYTES, wireBytes, isWaiting }, this.#nowMs);
    }
    for (
      let batch = this.#batches[this.#written];
      batch?.state === 'coded';
      batch = this.#batches[this.#written]
    ) {
      if (this.#writtenBytes + batch.wireBytes - this.#carriedBytes > this.#path.bufferBytes) return;
      this.#written++;
      this.#writtenBytes += batch.wireBytes;
    }
  }
}
