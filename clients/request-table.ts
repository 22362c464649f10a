/**
 * A guest's requests on their way: each has a number, is sent to the host that announced the guest last, and is
 * forgotten when its answer has come or nobody waits for it any more. What a host has not taken into the guest
 * when another announces it is sent again to that one. Knows no sockets.
 */

import { FORWARDER_WINDOW } from '../proto/forwarder-wire.ts';
import { FORWARDER_LIMITS } from './limits.ts';

/** A host to which requests can be sent. */
export interface RequestSink {
  send(number: number, message: Buffer): void;
}

/** Takes the answer to whoever asked. */
export type Reply = (message: Buffer) => void;

interface Request {
  readonly number: number;
  readonly message: Buffer;
  readonly reply: Reply;
  readonly atMs: number;
  wasSent: boolean;
  /** It stands in the guest's memory, and travels with it. */
  isTaken: boolean;
}

/** What was sent to a host and not yet taken there, in the order of the numbers. */
type Sent = Request[];

/** Counts since the start. */
export interface RequestCounts {
  asked: number;
  answered: number;
  /** Asked when the table was full. */
  dropped: number;
  /** Sent to a host after another one had not taken it. */
  sentAgain: number;
  /** Answers that nobody waited for: second ones, and late ones. */
  unasked: number;
  /** Nobody answered in time. */
  expired: number;
}

export class RequestTable {
  readonly counts: RequestCounts = {
    asked: 0,
    answered: 0,
    dropped: 0,
    sentAgain: 0,
    unasked: 0,
    expired: 0,
  };
  readonly #requests = new Map<number, Request>();
  readonly #sent = new Map<RequestSink, Sent>();
  #lastNumber = 0;
  #sink: RequestSink | undefined;
  /** To be sent to the host, from `#next` on. */
  #waiting: Request[] = [];
  #next = 0;

  get hasRoom(): boolean {
    return this.#requests.size < FORWARDER_LIMITS.requestsMax;
  }

  /** Sends a request as soon as there is a host for it. False when there is no room: it is dropped. */
  add(message: Buffer, reply: Reply, nowMs: number): boolean {
    if (!this.hasRoom) {
      this.counts.dropped++;
      return false;
    }
    this.counts.asked++;
    const number = ++this.#lastNumber;
    const request: Request = { number, message, reply, atMs: nowMs, wasSent: false, isTaken: false };
    this.#requests.set(request.number, request);
    this.#waiting.push(request);
    this.#pump();
    return true;
  }

  /** From now on requests go to this host, or to none; what the one before did not take goes first. */
  turnTo(sink: RequestSink | undefined): void {
    this.#sink = sink;
    if (sink !== undefined) this.#sent.set(sink, []);
    this.#waiting = [...this.#requests.values()].filter(({ isTaken }) => !isTaken);
    this.#next = 0;
    this.#pump();
  }

  /** A host's connection is gone: it takes nothing more. */
  gone(sink: RequestSink): void {
    if (this.#sink === sink) this.turnTo(undefined);
    this.#sent.delete(sink);
  }

  /** A host has put everything up to this number into the guest. */
  taken(sink: RequestSink, number: number): void {
    const sent = this.#sent.get(sink) ?? [];
    let count = 0;
    for (const request of sent) {
      if (request.number > number) break;
      request.isTaken = true;
      count++;
    }
    sent.splice(0, count);
    this.#pump();
  }

  answer(number: number, message: Buffer): void {
    const request = this.#requests.get(number);
    if (request === undefined) {
      this.counts.unasked++;
      return;
    }
    this.#requests.delete(number);
    this.counts.answered++;
    request.reply(message);
  }

  /** Forgets what was asked before a time. */
  expire(beforeMs: number): void {
    const before = this.#requests.size;
    for (const request of this.#requests.values()) {
      if (request.atMs >= beforeMs) break;
      this.#requests.delete(request.number);
    }
    const expired = before - this.#requests.size;
    if (expired === 0) return;
    this.counts.expired += expired;
    // While there is no host, nothing else would ever be taken out of it.
    this.#waiting = this.#waiting.slice(this.#next).filter(({ number }) => this.#requests.has(number));
    this.#next = 0;
  }

  #pump(): void {
    const sink = this.#sink;
    const sent = sink && this.#sent.get(sink);
    if (sink === undefined || sent === undefined) return;
    while (this.#next < this.#waiting.length && sent.length < FORWARDER_WINDOW) {
      const request = this.#waiting[this.#next++]!;
      if (request.isTaken || !this.#requests.has(request.number)) continue;
      if (request.wasSent) this.counts.sentAgain++;
      request.wasSent = true;
      sent.push(request);
      sink.send(request.number, request.message);
    }
    if (this.#next === this.#waiting.length) this.#waiting = [];
    else if (this.#next > FORWARDER_WINDOW) this.#waiting.splice(0, this.#next);
    else return;
    this.#next = 0;
  }
}
