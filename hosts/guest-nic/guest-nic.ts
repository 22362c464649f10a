/**
 * A guest's NIC: carries messages between the guest's queues and the uplink, wakes up the vCPU that serves them, and
 * has the guest announced where it runs. It has no state of its own that would have to move: what it took from the
 * uplink stands in guest memory, and what it took from guest memory has been sent. While the guest is held it touches
 * nothing of it.
 */

import { setImmediate as turn } from 'node:timers/promises';
import { errorText } from '../../proto/errors.ts';
import type { Announce } from '../../proto/generated/godwit/v1/guest.ts';
import { QUEUE_SLOTS } from '../../proto/guest-network.ts';
import { ControlBlock } from '../guest/control-block.ts';
import { HANDOVER, HOLD } from '../guest/control-layout.ts';
import { NicControl } from '../guest/nic-control.ts';
import type { SharedGuest } from '../guest/shared-guest.ts';
import { Packet, QUEUE, Virtqueue } from '../guest/virtqueue.ts';
import { Announcer } from './announcer.ts';
import { BURST_MESSAGES_MAX } from './limits.ts';
import type { Flow, NicPort, Uplink } from './uplink.ts';

export class GuestNic implements NicPort {
  readonly #control: NicControl;
  readonly #commands: ControlBlock;
  readonly #requests: Virtqueue;
  readonly #responses: Virtqueue;
  readonly #packets = Array.from({ length: BURST_MESSAGES_MAX }, () => new Packet());
  readonly #uplink: Uplink;
  readonly #announcer: Announcer;
  readonly #complain: (problem: string) => void;
  #lastProblem: string | undefined;
  /** The uplink keeps something for which there was no room. */
  #hasRefused = false;
  #isClosed = false;

  /**
   * @param shared of a guest whose spec has a network
   * @param complain told what keeps clients from the guest, and an empty problem when nothing does any more; the
   *   same is not told twice in a row
   */
  constructor(shared: SharedGuest, uplink: Uplink, announce: Announce, complain: (problem: string) => void) {
    this.#control = new NicControl(shared.control);
    this.#commands = new ControlBlock(shared.control, shared.spec.vcpuCount);
    this.#requests = new Virtqueue(shared, QUEUE.REQUESTS);
    this.#responses = new Virtqueue(shared, QUEUE.RESPONSES);
    this.#uplink = uplink;
    this.#announcer = new Announcer(announce, {
      isHere: () => !this.#hasLeft,
      announce: (round) => uplink.announce(round),
      withdraw: () => uplink.withdraw(),
    });
    this.#complain = complain;
  }

  /** Before the guest runs here. @throws when the uplink cannot be had */
  async start(): Promise<void> {
    await this.#uplink.start(this);
  }

  /** Serves the guest until `close`. After `start`, however that ended: an uplink may come back. */
  async run(): Promise<void> {
    this.#control.standBy();
    while (!this.#isClosed) {
      const rings = this.#control.rings();
      try {
        this.#look();
      } catch (error) {
        this.trouble(errorText(error));
      }
      // What was rung meanwhile must not keep the sockets from their turn.
      if (!(await this.#control.rung(rings))) await turn();
    }
  }

  /** For the uplink (NicPort). */
  offer(flow: Flow, message: Uint8Array): boolean {
    const isTaken = !this.#isClosed && this.#put(flow, message);
    if (isTaken) this.#control.kick();
    else this.#hasRefused = true;
    return isTaken;
  }

  /** For the uplink (NicPort). */
  lastFlow(): Flow {
    return this.#requests.lastFlow();
  }

  /** For the uplink (NicPort). */
  ready(): void {
    this.#control.ring();
  }

  /** Ends `run` and the uplink, also while it starts. */
  async close(): Promise<void> {
    this.#isClosed = true;
    // It may be told to close before it has heard its bell.
    if (this.#hasLeft) this.#announcer.withdraw();
    else this.#announcer.stop();
    this.#control.ring();
    await this.#uplink.close();
  }

  #put(flow: Flow, message: Uint8Array): boolean {
    if (!this.#control.enter()) return false;
    try {
      return this.#requests.put(flow, message);
    } finally {
      this.#control.leave();
    }
  }

  /** Does what there is to do. */
  #look(): void {
    if (this.#commands.holds() !== 0) {
      if (this.#hasLeft) this.#announcer.withdraw();
      return;
    }
    this.#announcer.begin();
    this.#deliver();
    if (!this.#hasRefused || !this.#requests.hasRoom) return;
    this.#hasRefused = false;
    this.#uplink.room();
  }

  /**
   * Committed and paused. One that came back, since the witness gave it to this host, is still called committed, but
   * runs.
   */
  get #hasLeft(): boolean {
    const isPaused = (this.#commands.holds() & HOLD.PAUSE) !== 0;
    return isPaused && this.#commands.handover() === HANDOVER.COMMITTED;
  }

  /** Sends the responses that wait, but no more than a queue of them before others have their turn. */
  #deliver(): void {
    if (this.#responses.waiting() === undefined) throw new Error('its queue of responses is damaged');
    for (let sent = 0; sent < QUEUE_SLOTS; sent += BURST_MESSAGES_MAX) {
      // What cannot be sent stays in guest memory; the uplink rings when it can.
      if (!this.#uplink.canSend) return;
      const count = this.#takeResponses();
      for (let index = 0; index < count; index++) {
        const { flow, message } = this.#packets[index] as Packet;
        this.#uplink.send(flow, message);
      }
      if (count < BURST_MESSAGES_MAX) return;
    }
    this.#control.ring();
  }

  /** Takes up to BURST_MESSAGES_MAX responses out of their queue; answers how many. */
  #takeResponses(): number {
    if (!this.#responses.hasMessage || !this.#control.enter()) return 0;
    let count = 0;
    try {
      while (count < BURST_MESSAGES_MAX && this.#responses.take(this.#packets[count] as Packet)) count++;
    } finally {
      this.#control.leave();
    }
    // The vCPU may have stopped serving since its responses had no room.
    if (this.#requests.hasMessage) this.#control.kick();
    return count;
  }

  /** For the uplink (NicPort). */
  trouble(problem: string): void {
    if (problem === this.#lastProblem) return;
    this.#lastProblem = problem;
    this.#complain(problem);
  }
}
