/**
 * One end of a migration's connection that says what a test wants, true or not, and hears what the other end
 * says. It holds the ticket, unless a test gives it another, and seals what it says once it is welcomed.
 */

import type { Socket } from 'node:net';
import { crc32 } from 'node:zlib';
import { ChannelReceiver } from '../../hosts/migration/channel-receiver.ts';
import { FrameDecoder } from '../../hosts/migration/frame-decoder.ts';
import {
  type Body,
  type CodedFrame,
  type ControlFrame,
  type ControlType,
  encodeCoded,
  encodeControl,
  encodePages,
  type Frame,
  type FrameType,
  HEADER,
  type PageRun,
  type Side,
} from '../../hosts/migration/wire.ts';
import { answerHello, type ConnectionKeys, Hello } from '../../hosts/transform/encryption/handshake.ts';
import type { RecordSealer } from '../../hosts/transform/encryption/record-sealer.ts';
import { Sealing } from '../../hosts/transform/encryption/sealing.ts';
import type { Ticket } from '../../proto/generated/godwit/v1/host.ts';
import { Encryption } from '../../proto/generated/godwit/v1/migration.ts';
import { PAGE_BYTES } from '../../proto/page.ts';

const SECRET_BYTES = 32;
const AN_HOUR_MS = 3_600_000;

/** A ticket that is good. */
export function testTicket(migration: string, changes: Partial<Ticket> = {}): Ticket {
  const purpose = { migration, guest: 'engine', epoch: 3n, source: 'host-1', destination: 'host-2' };
  const secret = Buffer.alloc(SECRET_BYTES, 'the secret of this migration');
  return { ...purpose, expiresAtMs: Date.now() + AN_HOUR_MS, secret, ...changes };
}

export class WirePeer {
  readonly socket: Socket;
  /** The sequence number of the next frame; a liar may change it. */
  sequence = 0;
  readonly closed: Promise<void>;
  readonly #pageCount: number;
  readonly #ticket: Ticket;
  readonly #sealing: Sealing;
  readonly #receiver: ChannelReceiver;
  readonly #heard: Frame[] = [];
  #hello: Hello | undefined;
  #sealer: RecordSealer | undefined;
  #wake = (): void => {};

  /** @param other which side the other end plays */
  constructor(socket: Socket, other: Side, pageCount: number, ticket: Ticket) {
    this.socket = socket;
    this.#pageCount = pageCount;
    this.#ticket = ticket;
    this.#sealing = new Sealing(
      other === 'source' ? 'destination' : 'source',
      Encryption.ENCRYPTION_AES_256_GCM,
    );
    const decoder = new FrameDecoder(other, { pageCount, channel: 0, channelCount: 1 });
    this.#receiver = new ChannelReceiver(decoder, {
      received: () => {},
      place: ({ payloadBytes }) => Buffer.alloc(payloadBytes),
      frame: (frame) => this.#onFrame(frame),
      failed: () => socket.destroy(),
    });
    socket.on('error', () => {});
    socket.on('data', (chunk) => this.#receiver.push(chunk));
    this.closed = new Promise((resolve) => {
      socket.once('close', () => resolve());
    });
  }

  /** HELLO as a destination says it, proven by the ticket. What follows may be said once it is welcomed. */
  sayHello({ channel = 0, pageCount = this.#pageCount } = {}): void {
    const { encryption } = this.#sealing;
    const binding = new Uint8Array(0);
    const hello = new Hello({ ticket: this.#ticket, encryption, channel, pageCount, binding });
    this.#hello = hello;
    this.say('HELLO', { migration: this.#ticket.migration, channel, pageCount, ...hello.greeting });
  }

  /** HELLO, and its answer. */
  async greet(): Promise<void> {
    this.sayHello();
    await this.hear('WELCOME');
  }

  /** WELCOME as a source says it, when HELLO has come. Answers which channel it was. */
  async sayWelcome(): Promise<number> {
    const { body } = await this.hear('HELLO');
    const { channel, pageCount } = body;
    const { encryption } = this.#sealing;
    const terms = { ticket: this.#ticket, encryption, channel, pageCount, binding: new Uint8Array(0) };
    const { welcome, keys } = answerHello(terms, body);
    this.say('WELCOME', welcome);
    this.#seal(keys);
    return channel;
  }

  say<T extends ControlType>(type: T, body: Body<T>, payload = Buffer.alloc(0)): void {
    const head = encodeControl(type, body, this.sequence++, payload.byteLength);
    this.write(head, payload);
  }

  /** PAGES with a payload of ones. */
  sayPages(...runs: PageRun[]): void {
    const pages = runs.reduce((sum, { pageCount, kind }) => sum + (kind === 1 ? pageCount : 0), 0);
    this.write(this.pagesHead(...runs), Buffer.alloc(pages * PAGE_BYTES, 1));
  }

  /** CODED with a payload that may be what the head says. */
  sayCoded(frame: Omit<CodedFrame, 'type' | 'payloadBytes'>, payload: Uint8Array): void {
    this.write(encodeCoded({ ...frame, payloadBytes: payload.byteLength }, this.sequence++), payload);
  }

  /** What announces pages that a liar may then not send. */
  pagesHead(...runs: PageRun[]): Buffer {
    return encodePages(runs, this.sequence++);
  }

  /** A frame with one field of its header changed and the checksum put right. */
  sayForged<T extends ControlType>(type: T, body: Body<T>, field: keyof typeof HEADER, value: number): void {
    const head = encodeControl(type, body, this.sequence++);
    head.writeUInt32LE(value, HEADER[field]);
    head.writeUInt32LE(crc32(head.subarray(0, HEADER.checksum)), HEADER.checksum);
    this.write(head);
  }

  /** Bytes as they are, or in records once this end is welcomed. */
  write(head: Uint8Array, payload?: Uint8Array): void {
    const records = this.#sealer?.seal(head, payload) ?? [payload === undefined ? [head] : [head, payload]];
    for (const record of records) this.socket.write(Buffer.concat(record));
  }

  /** The next frame of this type; others before it are passed over. */
  async hear<T extends FrameType>(type: T): Promise<Extract<ControlFrame, { type: T }>> {
    for (;;) {
      const frame = this.#heard.shift();
      if (frame?.type === type) return frame as Extract<ControlFrame, { type: T }>;
      if (frame !== undefined) continue;
      if (this.socket.destroyed) throw new Error(`the other end closed the connection before ${type} came`);
      const heard = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await Promise.race([heard, this.closed]);
    }
  }

  #onFrame(frame: Frame): void {
    if (frame.type === 'WELCOME' && this.#hello !== undefined) this.#seal(this.#hello.welcomed(frame.body));
    this.#heard.push(frame);
    this.#wake();
  }

  #seal(keys: ConnectionKeys): void {
    const ends = this.#sealing.ends(keys);
    if (ends === undefined) return;
    this.#receiver.seal(ends.opener);
    this.#sealer = ends.sealer;
  }
}
