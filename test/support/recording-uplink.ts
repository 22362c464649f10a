/**
 * The uplink of a test: what a guest's NIC sends is kept, in order, and what the guest cannot have yet waits for room.
 * The NIC runs on the test's own thread, between the test's awaits.
 */

import type { SharedGuest } from '../../hosts/guest/shared-guest.ts';
import { GuestNic } from '../../hosts/guest-nic/guest-nic.ts';
import type { Flow, NicPort, Uplink } from '../../hosts/guest-nic/uplink.ts';
import { DEFAULT_ANNOUNCE, FLOW_BYTES } from '../../proto/guest-network.ts';
import { decodeResponse, encodeRequest, type GuestResponse } from '../../proto/guest-request.ts';

/** A flow that says a number. */
export function flowOf(number: number): Flow {
  const flow = Buffer.alloc(FLOW_BYTES);
  flow.writeUInt32LE(number);
  return flow;
}

export interface Sent {
  readonly flow: number;
  readonly message: Buffer;
  /** Undefined when the message is none. */
  readonly response: GuestResponse | undefined;
}

export class RecordingUplink implements Uplink {
  readonly sent: Sent[];
  /** The rounds announced, and -1 for a withdrawal. */
  readonly announced: number[] = [];
  /** What the guest could not have yet. */
  readonly waiting: { readonly flow: Flow; readonly message: Uint8Array }[];
  refusedCount = 0;
  canSend = true;
  #port: NicPort | undefined;

  /** @param other of another host, whose clients are the same */
  constructor(other?: RecordingUplink) {
    this.sent = other?.sent ?? [];
    this.waiting = other?.waiting ?? [];
  }

  async start(port: NicPort): Promise<void> {
    this.#port = port;
  }

  announce(round: number): void {
    this.announced.push(round);
    this.room();
  }

  withdraw(): void {
    this.announced.push(-1);
  }

  send(flow: Flow, bytes: Uint8Array): void {
    const message = Buffer.from(bytes);
    this.sent.push({ flow: Buffer.from(flow).readUInt32LE(), message, response: decodeResponse(message) });
  }

  room(): void {
    for (let next = this.waiting[0]; next !== undefined; next = this.waiting[0]) {
      if (this.#port?.offer(next.flow, next.message) !== true) {
        this.refusedCount++;
        return;
      }
      this.waiting.shift();
    }
  }

  async close(): Promise<void> {}

  /** Sends again. */
  reconnected(): void {
    this.canSend = true;
    this.#port?.ready();
  }

  /** The flow that the guest says it has taken last. */
  get lastFlow(): number | undefined {
    const flow = this.#port?.lastFlow();
    return flow && Buffer.from(flow).readUInt32LE();
  }

  /** Offers a message, after those that wait. */
  offer(flow: number, message: Uint8Array): void {
    this.waiting.push({ flow: flowOf(flow), message });
    if (this.waiting.length === 1) this.room();
  }

  /** Offers a request whose number is its flow's. */
  request(operation: 1 | 2, key: number, number: number): void {
    this.offer(number, encodeRequest({ operation, key, number: BigInt(number) }));
  }
}

/** The NICs of a test file, ended together. */
export class Nics {
  readonly #nics: { readonly nic: GuestNic; readonly running: Promise<void> }[] = [];
  readonly problems: string[] = [];

  /** Gives a guest a NIC with an uplink of the test's. */
  async connect(shared: SharedGuest, uplink: Uplink, announce = DEFAULT_ANNOUNCE): Promise<GuestNic> {
    const nic = new GuestNic(shared, uplink, announce, (problem) => this.problems.push(problem));
    await nic.start();
    this.#nics.push({ nic, running: nic.run() });
    return nic;
  }

  async closeAll(): Promise<void> {
    await Promise.all(
      this.#nics.splice(0).map(async ({ nic, running }) => {
        await nic.close();
        await running;
      }),
    );
  }
}
