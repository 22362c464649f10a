/**
 * The way of pages from one guest's memory to another's, as the two movers have it but for the protocol around: a
 * PageSender, its transforms, real sockets, and the placing at their other end.
 */

import { connect, createServer, type Server, type Socket } from 'node:net';
import { allocateGuest } from '../../hosts/guest/shared-guest.ts';
import { BandwidthLimit } from '../../hosts/migration/bandwidth-limit.ts';
import { ChannelReceiver } from '../../hosts/migration/channel-receiver.ts';
import { ChannelSender } from '../../hosts/migration/channel-sender.ts';
import { FrameDecoder } from '../../hosts/migration/frame-decoder.ts';
import { PagePlacer } from '../../hosts/migration/page-placer.ts';
import { PageSender } from '../../hosts/migration/page-sender.ts';
import { ReceivedMemory } from '../../hosts/migration/received-memory.ts';
import { Silence } from '../../hosts/migration/silence.ts';
import { isPageFrame } from '../../hosts/migration/wire.ts';
import { PageDecoder } from '../../hosts/transform/page-decoder.ts';
import { PageEncoder } from '../../hosts/transform/page-encoder.ts';
import { hasBatches, restorersOf, stagesOf } from '../../hosts/transform/registry.ts';
import type { TransformReport, Transforms } from '../../proto/generated/godwit/v1/migration.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { DEFAULT_TRANSFORMS } from '../../proto/transforms.ts';
import { guestSpec } from '../unit/guest/specs.ts';

const signal = new AbortController().signal;
const silence = new Silence('the test', 600_000, signal);

export interface PagePathSettings {
  readonly channelCount?: number;
  /** 0: unlimited. */
  readonly bytesPerS?: number;
  readonly pageCount: number;
  readonly transforms?: Partial<Transforms>;
}

export class PagePath {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly sender: PageSender;
  /** Undefined when no transform works on batches. */
  readonly encoder: PageEncoder | undefined;
  readonly #decoder: PageDecoder;
  readonly #channels: readonly ChannelSender[];
  readonly #server: Server;
  readonly #sockets: readonly Socket[];
  readonly #placing: Placing;

  private constructor(parts: {
    memories: { source: SharedArrayBuffer; destination: SharedArrayBuffer };
    sender: PageSender;
    encoder: PageEncoder | undefined;
    decoder: PageDecoder;
    channels: readonly ChannelSender[];
    server: Server;
    sockets: readonly Socket[];
    placing: Placing;
  }) {
    this.source = new Uint8Array(parts.memories.source);
    this.destination = new Uint8Array(parts.memories.destination);
    this.sender = parts.sender;
    this.encoder = parts.encoder;
    this.#decoder = parts.decoder;
    this.#channels = parts.channels;
    this.#server = parts.server;
    this.#sockets = parts.sockets;
    this.#placing = parts.placing;
  }

  static async make(settings: PagePathSettings): Promise<PagePath> {
    const { channelCount = 1, bytesPerS = 0, pageCount } = settings;
    const transforms = { ...DEFAULT_TRANSFORMS, ...settings.transforms };
    const spec = { ...guestSpec(), memoryBytes: BigInt(pageCount * PAGE_BYTES) };
    const [near, far] = [allocateGuest(spec), allocateGuest(spec)];
    const received = new ReceivedMemory(far.memory);
    const decoder = new PageDecoder(received, restorersOf({ transforms, shared: far, received }));
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const placing = new Placing(channelCount);
    const sockets: Socket[] = [];
    const channels: ChannelSender[] = [];
    for (let channel = 0; channel < channelCount; channel++) {
      const placer = new PagePlacer(received, decoder);
      const { onread } = new ChannelReceiver(
        new FrameDecoder('source', { pageCount, channel, channelCount }),
        placing.hooks(placer),
      );
      const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
      const { port } = server.address() as { port: number };
      sockets.push(connect({ port, host: '127.0.0.1', onread }), await accepted);
      channels.push(new ChannelSender(await accepted, silence));
    }
    const stages = stagesOf({ transforms, shared: near, channelCount });
    const encoder = hasBatches(transforms) ? new PageEncoder(transforms, stages) : undefined;
    const limit = new BandwidthLimit(bytesPerS);
    const sender = new PageSender(near.memory, channels, limit, signal, { zero: transforms.zero, encoder });
    const memories = { source: near.memory, destination: far.memory };
    return new PagePath({ memories, sender, encoder, decoder, channels, server, sockets, placing });
  }

  /** Sends these pages as a round, and waits until they have been placed. @throws when anything is refused */
  async send(pages: readonly number[]): Promise<void> {
    const list = Uint32Array.from(pages);
    const placed = this.#placing.round();
    this.encoder?.roundBegins(list);
    const end = await this.sender.send(list, 0, list.length, () => true);
    if (end !== list.length) throw new Error(`the sender stopped at ${end} of ${list.length} pages`);
    for (const channel of this.#channels) channel.send('ROUND_END', { round: 1 });
    await placed;
    this.encoder?.roundEnded();
  }

  /** The first page of each frame that has come, in their order. */
  get arrivals(): readonly number[] {
    return this.#placing.arrivals;
  }

  /** Bytes on the wire so far. */
  get sentBytes(): number {
    return this.#channels.reduce((sum, { sentBytes }) => sum + sentBytes, 0);
  }

  /** What the transforms did at both ends. */
  get reports(): { readonly source: TransformReport[]; readonly destination: TransformReport[] } {
    return { source: this.sender.reports(), destination: this.#decoder.reports() };
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await this.encoder?.close();
  }
}

/** What comes at the other end. */
class Placing {
  readonly arrivals: number[] = [];
  readonly #channelCount: number;
  #roundsEnded = 0;
  #round = Promise.withResolvers<void>();

  constructor(channelCount: number) {
    this.#channelCount = channelCount;
  }

  /** Resolves when a round has ended on every channel from now on. */
  async round(): Promise<void> {
    this.#round = Promise.withResolvers<void>();
    await this.#round.promise;
  }

  hooks(placer: PagePlacer): ConstructorParameters<typeof ChannelReceiver>[1] {
    return {
      received: () => {},
      place: (frame) => {
        if (isPageFrame(frame)) return placer.target(frame);
        throw new Error(`${frame.type} came with a payload`);
      },
      frame: (frame) => {
        if (isPageFrame(frame)) {
          placer.place(frame);
          this.arrivals.push(frame.runs[0]?.firstPage ?? -1);
        } else if (++this.#roundsEnded % this.#channelCount === 0) this.#round.resolve();
      },
      failed: (error) => this.#round.reject(error),
    };
  }
}
