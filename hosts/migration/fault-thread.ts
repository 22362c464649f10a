/**
 * The destination's thread for demanded pages (QEMU has two, for faults and for the channel of postcopy-preempt). It
 * owns the priority channel: asks there for what vCPUs wait for, and places what comes. The mover, which takes the
 * push, has far more to read than fits into the time that a fault should take. Its owner is priority-channel.ts.
 */

import { parentPort, workerData } from 'node:worker_threads';
import { goFirst } from '../../proto/thread-priority.ts';
import { MissingPages } from '../guest/missing-pages.ts';
import { pageCountOf } from '../guest/shared-guest.ts';
import { Sealing } from '../transform/encryption/sealing.ts';
import { WireViolation } from './channel-receiver.ts';
import { DestinationChannel } from './destination-channel.ts';
import { FaultRequests } from './fault-requests.ts';
import type { FaultThreadData, FromFaultThread, ToFaultThread } from './messages.ts';
import { PagePlacer } from './page-placer.ts';
import { priorityCounts } from './priority-counts.ts';
import { ReceivedMemory } from './received-memory.ts';
import { Silence } from './silence.ts';
import type { Frame, PagesFrame } from './wire.ts';

class FaultThread {
  readonly #data: FaultThreadData;
  readonly #post: (message: FromFaultThread) => void;
  readonly #pageCount: number;
  readonly #missing: MissingPages;
  readonly #requests: FaultRequests;
  readonly #placer: PagePlacer;
  readonly #sealing: Sealing;
  readonly #counts;
  #channel: DestinationChannel | undefined;
  #isAsking = false;

  constructor(data: FaultThreadData, post: (message: FromFaultThread) => void) {
    const { shared, touched, counts } = data;
    this.#data = data;
    this.#post = post;
    this.#pageCount = pageCountOf(shared.spec);
    this.#sealing = new Sealing('destination', data.encryption);
    this.#missing = new MissingPages(shared);
    this.#counts = priorityCounts(counts);
    this.#requests = new FaultRequests(this.#missing, this.#pageCount, this.#counts);
    this.#placer = new PagePlacer(new ReceivedMemory(shared.memory, touched));
  }

  hear(message: ToFaultThread): void {
    switch (message.type) {
      case 'connect':
        this.#connect(message.link);
        break;
      case 'ask':
        this.#ask();
        break;
      case 'hang-up':
        this.#hangUp();
        break;
    }
  }

  /** Opens the connection, in place of the one before. */
  #connect(link: number): void {
    const { sourceAddress: host, sourcePort: port, ticket, channel: index } = this.#data;
    this.#hangUp();
    const geometry = { pageCount: this.#pageCount, channel: 0, channelCount: 1 };
    const lose = (error: Error): void => {
      if (this.#channel !== channel) return;
      this.#channel = undefined;
      channel.destroy();
      this.#post({ type: 'lost', link, reason: error.message, isRefused: error instanceof WireViolation });
    };
    // Nothing here waits for the other side: the mover does.
    const silence = new Silence('the source', Number.POSITIVE_INFINITY, new AbortController().signal);
    const settings = { host, port, index, geometry, ticket, sealing: this.#sealing };
    const channel: DestinationChannel = new DestinationChannel(settings, silence, {
      received: (byteCount) => {
        this.#counts.receivedBytes += byteCount;
      },
      place: (frame) => this.#placer.target(this.#mayCome(frame)),
      frame: (frame) => this.#onFrame(channel, link, frame),
      failed: lose,
      lost: lose,
    });
    this.#channel = channel;
  }

  #hangUp(): void {
    const channel = this.#channel;
    this.#channel = undefined;
    this.#isAsking = false;
    channel?.destroy();
  }

  /** The guest runs here. */
  #ask(): void {
    if (this.#channel === undefined) return;
    this.#isAsking = true;
    this.#requests.ask(this.#channel.sender);
  }

  #onFrame(channel: DestinationChannel, link: number, frame: Frame): void {
    if (frame.type === 'WELCOME') {
      channel.welcomed(frame.body);
      this.#post({ type: 'welcome', link });
      return;
    }
    const pages = this.#mayCome(frame);
    this.#placer.place(pages);
    this.#countOpened();
    // Before others can find that it is here.
    for (const { pageCount } of pages.runs) this.#counts.placedPages += pageCount;
    this.#missing.placed(pages.runs);
    if (pages.payloadBytes > 0) this.#channel?.sender.send('PLACED', { bytes: pages.payloadBytes });
    if (this.#missing.count === 0) this.#post({ type: 'complete' });
  }

  #countOpened(): void {
    const { bytesIn, bytesOut, cpuS, timeMs } = this.#sealing.opened;
    this.#counts.sealedBytes = bytesIn;
    this.#counts.openedBytes = bytesOut;
    this.#counts.openingCpuS = cpuS;
    this.#counts.openingMs = timeMs;
  }

  /** @throws WireViolation for everything but pages that the guest, which runs, lacks */
  #mayCome(frame: Frame): PagesFrame {
    if (frame.type !== 'PAGES' || !this.#isAsking)
      throw new WireViolation(`${frame.type} is not allowed now`);
    const present = this.#missing.presentOf(frame.runs);
    if (present !== undefined) throw new WireViolation(`page ${present} came though it is here`);
    return frame;
  }
}

const port = parentPort;
if (port === null) throw new Error('fault-thread.ts is a thread, not a program; a mover starts it');
goFirst();
const thread = new FaultThread(workerData as FaultThreadData, (message) => port.postMessage(message));
port.on('message', (message: ToFaultThread) => thread.hear(message));
