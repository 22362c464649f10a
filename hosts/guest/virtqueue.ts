/**
 * A queue in guest memory, as virtio has one between a guest and a device of its host: 256 slots of 2 KiB, each with a
 * flow and a message, and two free-running indices. One thread puts in (the producer), one takes out (the consumer).
 * It lies in guest memory and all of it, indices too, is written behind the write barrier: so what is in it when the
 * guest is paused moves with the guest, by the dirty tracking that moves all memory, and nothing of it is saved
 * anywhere else. Nothing is remembered on this side either: the other host's writes are simply found.
 *
 * The last pages of a guest with a NIC:
 *
 *   requests (128 pages) | responses (128 pages) | indices that the NIC writes | indices that the vCPU writes
 *
 * The producer stores a slot and then raises its index, an atomic operation; the consumer reads that index, then the
 * slot, and raises its own. A slot: its message's length (uint32), 12 bytes of zero, the flow, the message.
 */

import {
  FLOW_BYTES,
  firstQueuePage,
  NETWORK_PAGES,
  QUEUE_PAGES,
  QUEUE_SLOT_BYTES,
  QUEUE_SLOTS,
} from '../../proto/guest-network.ts';
import { MESSAGE_BYTES_MAX } from '../../proto/guest-request.ts';
import { PAGE_BYTES, PAGE_WORDS } from '../../proto/page.ts';
import type { Flow } from '../guest-nic/uplink.ts';
import { PAGE_READY, PageTable } from './page-table.ts';
import { pageCountOf, type SharedGuest } from './shared-guest.ts';

const SLOTS_PER_PAGE = PAGE_BYTES / QUEUE_SLOT_BYTES;
const FLOW_OFFSET = 16;
const MESSAGE_OFFSET = FLOW_OFFSET + FLOW_BYTES;

/** Where the two queues' parts lie, in pages from the first of the NIC's. */
const NIC_INDEX_PAGE = 2 * QUEUE_PAGES;
const VCPU_INDEX_PAGE = NIC_INDEX_PAGE + 1;
/** The two indices of an index page, in different cache lines. */
const PRODUCED_WORD = 0;
const CONSUMED_WORD = 16;

export const QUEUE = {
  /** From the NIC to the vCPU. */
  REQUESTS: 0,
  /** From the vCPU to the NIC. */
  RESPONSES: 1,
} as const;
export type Queue = (typeof QUEUE)[keyof typeof QUEUE];

/** A message out of a queue, in memory of the consumer's own. */
export class Packet {
  readonly #bytes = Buffer.alloc(MESSAGE_BYTES_MAX);
  readonly flow: Flow = new Uint8Array(FLOW_BYTES);
  length = 0;

  /** Valid until the next `take` into this packet. */
  get message(): Buffer {
    return this.#bytes.subarray(0, this.length);
  }

  /** Room for a message of any allowed length. */
  get room(): Buffer {
    return this.#bytes;
  }
}

export class Virtqueue {
  readonly #pageTable: PageTable;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #slots: Buffer<SharedArrayBuffer>;
  readonly #firstSlotPage: number;
  readonly #produced: number;
  readonly #consumed: number;

  /** @param shared of a guest whose spec has a network */
  constructor(shared: SharedGuest, queue: Queue) {
    const firstPage = firstQueuePage(shared.spec);
    const pageCount = pageCountOf(shared.spec);
    if (pageCount - firstPage !== NETWORK_PAGES) {
      throw new Error(`guest ${shared.spec.name} has no queues, since its spec has no network`);
    }
    const isRequests = queue === QUEUE.REQUESTS;
    const producerPage = firstPage + (isRequests ? NIC_INDEX_PAGE : VCPU_INDEX_PAGE);
    const consumerPage = firstPage + (isRequests ? VCPU_INDEX_PAGE : NIC_INDEX_PAGE);
    this.#pageTable = new PageTable(shared.pageTable, pageCount);
    this.#words = new Int32Array(shared.memory);
    this.#firstSlotPage = firstPage + queue * QUEUE_PAGES;
    this.#slots = Buffer.from(shared.memory, this.#firstSlotPage * PAGE_BYTES, QUEUE_PAGES * PAGE_BYTES);
    this.#produced = producerPage * PAGE_WORDS + PRODUCED_WORD;
    this.#consumed = consumerPage * PAGE_WORDS + CONSUMED_WORD;
  }

  /** How many messages wait. Undefined when the indices cannot be: the queue is damaged and is used no more. */
  waiting(): number | undefined {
    const count = (Atomics.load(this.#words, this.#produced) - Atomics.load(this.#words, this.#consumed)) | 0;
    return count >= 0 && count <= QUEUE_SLOTS ? count : undefined;
  }

  /** Whether a message would have room. */
  get hasRoom(): boolean {
    return (this.waiting() ?? QUEUE_SLOTS) < QUEUE_SLOTS;
  }

  /** Whether a message waits. */
  get hasMessage(): boolean {
    return (this.waiting() ?? 0) > 0;
  }

  /**
   * For the producer: puts a message in. False when there is no room.
   *
   * @throws when the message is longer than MESSAGE_BYTES_MAX, or the flow not FLOW_BYTES long
   */
  put(flow: Flow, message: Uint8Array): boolean {
    if (message.byteLength > MESSAGE_BYTES_MAX || flow.byteLength !== FLOW_BYTES) {
      throw new Error(
        `queueing a message of ${message.byteLength} bytes for a flow of ${flow.byteLength}; ` +
          `allowed are at most ${MESSAGE_BYTES_MAX} and exactly ${FLOW_BYTES}`,
      );
    }
    if (!this.hasRoom) return false;
    const index = Atomics.load(this.#words, this.#produced);
    const slot = index & (QUEUE_SLOTS - 1);
    this.#touch(this.#firstSlotPage + Math.floor(slot / SLOTS_PER_PAGE));
    const start = slot * QUEUE_SLOT_BYTES;
    this.#slots.writeUInt32LE(message.byteLength, start);
    this.#slots.set(flow, start + FLOW_OFFSET);
    this.#slots.set(message, start + MESSAGE_OFFSET);
    this.#raise(this.#produced, index);
    return true;
  }

  /** For the producer: the flow of the message that was put in last, on whichever host; zeroes before the first. */
  lastFlow(): Flow {
    const slot = (Atomics.load(this.#words, this.#produced) - 1) & (QUEUE_SLOTS - 1);
    const start = slot * QUEUE_SLOT_BYTES + FLOW_OFFSET;
    return new Uint8Array(this.#slots.subarray(start, start + FLOW_BYTES));
  }

  /** For the consumer: takes the oldest message out, into `packet`. False when none waits. */
  take(packet: Packet): boolean {
    if (!this.hasMessage) return false;
    const index = Atomics.load(this.#words, this.#consumed);
    const start = (index & (QUEUE_SLOTS - 1)) * QUEUE_SLOT_BYTES;
    // What stands in guest memory is not believed: a length that cannot be is cut.
    packet.length = Math.min(this.#slots.readUInt32LE(start), MESSAGE_BYTES_MAX);
    this.#slots.copy(packet.flow, 0, start + FLOW_OFFSET, start + MESSAGE_OFFSET);
    this.#slots.copy(packet.room, 0, start + MESSAGE_OFFSET, start + MESSAGE_OFFSET + packet.length);
    this.#raise(this.#consumed, index);
    return true;
  }

  /** What is wrong with the queue, for an audit: it stands still. Undefined when it is sound. */
  problem(): { readonly page: number; readonly detail: string } | undefined {
    const produced = Atomics.load(this.#words, this.#produced);
    const consumed = Atomics.load(this.#words, this.#consumed);
    const waiting = this.waiting();
    if (waiting === undefined) {
      const detail = `the queue's indices are ${produced} and ${consumed}; at most ${QUEUE_SLOTS} may lie between`;
      return { page: Math.floor(this.#produced / PAGE_WORDS), detail };
    }
    for (let index = consumed; index !== ((consumed + waiting) | 0); index = (index + 1) | 0) {
      const slot = index & (QUEUE_SLOTS - 1);
      const length = this.#slots.readUInt32LE(slot * QUEUE_SLOT_BYTES);
      if (length <= MESSAGE_BYTES_MAX) continue;
      const page = this.#firstSlotPage + Math.floor(slot / SLOTS_PER_PAGE);
      return { page, detail: `slot ${slot} says ${length} bytes; allowed are at most ${MESSAGE_BYTES_MAX}` };
    }
    return undefined;
  }

  #raise(word: number, index: number): void {
    this.#touch(Math.floor(word / PAGE_WORDS));
    Atomics.store(this.#words, word, (index + 1) | 0);
  }

  /** The write barrier, as in vcpu-memory.ts. */
  #touch(page: number): void {
    if (this.#pageTable.entries[page] !== PAGE_READY) this.#pageTable.markDirty(page);
  }
}
