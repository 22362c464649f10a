/**
 * The guest's side of its NIC, on the vCPU that serves it: takes requests out of their queue, has the workload answer
 * them, and puts the responses into theirs. A request is taken, carried out and answered between two safepoints, so
 * the guest never moves between these: it is in one of the queues, or it is done and its response is.
 */

import {
  decodeRequest,
  decodeResponse,
  encodeResponseHead,
  type GuestRequest,
  MESSAGE_BYTES_MAX,
  RESPONSE_HEAD_BYTES,
  RequestOperation,
  ResponseStatus,
} from '../../proto/guest-request.ts';
import type { GuestMemory } from '../../workloads/guest-memory.ts';
import type { Workload } from '../../workloads/workload.ts';
import { nowMs } from '../clock.ts';
import { BATCH_MS_MAX } from './limits.ts';
import type { SharedGuest } from './shared-guest.ts';
import { Packet, QUEUE, Virtqueue } from './virtqueue.ts';

type AnsweringWorkload = Workload & Required<Pick<Workload, 'answer'>>;

export class RequestServer {
  /** Answered by the last `serve`, and the page writes that this took. */
  servedCount = 0;
  pageWrites = 0;
  readonly #requests: Virtqueue;
  readonly #responses: Virtqueue;
  readonly #memory: GuestMemory;
  readonly #workload: AnsweringWorkload;
  readonly #packet = new Packet();
  readonly #response = Buffer.alloc(MESSAGE_BYTES_MAX);
  readonly #body = this.#response.subarray(RESPONSE_HEAD_BYTES);

  /** @param shared of a guest whose spec has a network. @throws when the workload answers nobody */
  constructor(shared: SharedGuest, workload: Workload, memory: GuestMemory) {
    if (workload.answer === undefined) {
      throw new Error(`guest ${shared.spec.name} has a network, and its workload does not answer requests`);
    }
    this.#workload = workload as AnsweringWorkload;
    this.#memory = memory;
    this.#requests = new Virtqueue(shared, QUEUE.REQUESTS);
    this.#responses = new Virtqueue(shared, QUEUE.RESPONSES);
  }

  /** Whether a request waits, and its response has room. */
  get hasWork(): boolean {
    return this.#requests.hasMessage && this.#responses.hasRoom;
  }

  /** Serves what waits, for about BATCH_MS_MAX at most. */
  serve(): void {
    this.servedCount = 0;
    this.pageWrites = 0;
    const untilMs = nowMs() + BATCH_MS_MAX;
    while (this.hasWork && this.#requests.take(this.#packet)) {
      const length = this.#serveOne(this.#packet.message);
      if (length > 0) this.#responses.put(this.#packet.flow, this.#response.subarray(0, length));
      this.servedCount++;
      if (nowMs() >= untilMs) return;
    }
  }

  /** Answers the length of the response; 0 for none. */
  #serveOne(message: Buffer): number {
    const request = decodeRequest(message);
    if (request === undefined) return this.#refuse(message);
    const { version, bodyBytes, pageWrites } = this.#workload.answer(this.#memory, request, this.#body);
    this.pageWrites += pageWrites;
    return this.#head(request, ResponseStatus.OK, version) + bodyBytes;
  }

  /** What is itself a response gets none: two guests would refuse each other's for ever. */
  #refuse(message: Buffer): number {
    if (decodeResponse(message) !== undefined) return 0;
    const key = message.byteLength >= 8 ? message.readUInt32LE(4) : 0;
    const number = message.byteLength >= 16 ? message.readBigUInt64LE(8) : 0n;
    return this.#head({ operation: RequestOperation.GET, key, number }, ResponseStatus.MALFORMED, 0);
  }

  #head(request: GuestRequest, status: ResponseStatus, version: number): number {
    encodeResponseHead({ ...request, status, version }, this.#response);
    return RESPONSE_HEAD_BYTES;
  }
}
