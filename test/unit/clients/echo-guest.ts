/** A guest in the test's own process: a NIC's port that answers as the kv workload does, and can stand still. */

import type { Flow, NicPort, Uplink } from '../../../hosts/guest-nic/uplink.ts';
import { FLOW_BYTES } from '../../../proto/guest-network.ts';
import {
  decodeRequest,
  encodeResponseHead,
  RESPONSE_HEAD_BYTES,
  RequestOperation,
  ResponseStatus,
} from '../../../proto/guest-request.ts';

/** What moves with a guest: its memory, and the requests that stand in it. */
export class EchoMemory {
  readonly versions = new Map<number, number>();
  /** Taken and not yet answered. */
  readonly ring: { readonly flow: Uint8Array; readonly message: Buffer }[] = [];
  servedCount = 0;
  /** Of the request that was taken last. */
  flow: Uint8Array = new Uint8Array(FLOW_BYTES);
}

/** Answers one request out of this memory, as the guest would. */
export function answerTo(memory: EchoMemory, message: Buffer): Buffer {
  const request = decodeRequest(message);
  if (request === undefined) throw new Error('the test sent no request');
  memory.servedCount++;
  const isWrite = request.operation === RequestOperation.SET;
  const version = (memory.versions.get(request.key) ?? 0) + (isWrite ? 1 : 0);
  memory.versions.set(request.key, version);
  const response = Buffer.alloc(RESPONSE_HEAD_BYTES);
  encodeResponseHead({ ...request, status: ResponseStatus.OK, version }, response);
  return response;
}

/** A guest on one host. While it is `held` it takes nothing; while it is `slow` it takes and does not answer. */
export class EchoGuest implements NicPort {
  readonly uplink: Uplink;
  readonly #memory: EchoMemory;
  isHeld = true;
  isSlow = false;
  /** What its uplink complained of, and the ends of it. */
  readonly troubles: string[] = [];

  constructor(uplink: Uplink, memory: EchoMemory) {
    this.uplink = uplink;
    this.#memory = memory;
  }

  offer(flow: Flow, message: Uint8Array): boolean {
    if (this.isHeld) return false;
    this.#memory.flow = Buffer.from(flow);
    this.#memory.ring.push({ flow: this.#memory.flow, message: Buffer.from(message) });
    if (!this.isSlow) this.serve();
    return true;
  }

  lastFlow(): Flow {
    return this.#memory.flow;
  }

  ready(): void {
    if (!this.isHeld && !this.isSlow) this.serve();
  }

  trouble(problem: string): void {
    this.troubles.push(problem);
  }

  /** Runs here from now on. */
  run(): void {
    this.isHeld = false;
    this.serve();
    this.uplink.announce(1);
    this.uplink.room();
  }

  /** Answers all that stands in memory, if it can. */
  serve(): void {
    if (!this.uplink.canSend) return;
    for (const { flow, message } of this.#memory.ring.splice(0)) {
      this.uplink.send(flow, answerTo(this.#memory, message));
    }
  }
}
