/**
 * A man in the middle between the two ends of a migration: passes on what they say, HELLO and WELCOME and then
 * record by record, as a test wants it.
 */

import { connect, createServer, type Server, type Socket } from 'node:net';
import { HEADER, HEADER_BYTES } from '../../hosts/migration/wire.ts';
import { SEALING_LIMITS } from '../../hosts/transform/encryption/limits.ts';

const { prefixBytes } = SEALING_LIMITS;

export type Direction = 'to-source' | 'to-destination';

/** One piece of what an end says: HELLO or WELCOME, or a whole record. */
export interface Piece {
  readonly direction: Direction;
  /** Which connection, in the order in which they came. */
  readonly connection: number;
  /** 0 is HELLO or WELCOME. */
  readonly index: number;
  readonly bytes: Buffer;
}

/** What is passed on in place of a piece. */
export type Meddling = (piece: Piece) => readonly Buffer[];

/** How long the piece is that begins here; undefined when that is not known yet. */
export type Cut = (bytes: Buffer, index: number) => number | undefined;

/** HELLO or WELCOME, then records. */
export const cutRecords: Cut = (bytes, index) => {
  if (index > 0) return bytes.byteLength < prefixBytes ? undefined : prefixBytes + bytes.readUInt32LE(0);
  if (bytes.byteLength < HEADER_BYTES) return undefined;
  return HEADER_BYTES + bytes.readUInt32LE(HEADER.tableBytes);
};

/** Whatever has come. */
export const cutNothing: Cut = ({ byteLength }) => byteLength || undefined;

/** Records of TLS. */
export const cutTls: Cut = (bytes) => (bytes.byteLength < 5 ? undefined : 5 + bytes.readUInt16BE(3));

export class Meddler {
  /** All that passed, as it was said. */
  readonly said: Piece[] = [];
  port = 0;
  readonly #server: Server;
  readonly #sockets: Socket[] = [];

  private constructor(target: number, meddling: Meddling, cut: Cut) {
    let connections = 0;
    this.#server = createServer((near) => {
      const connection = connections++;
      const far = connect(target, '127.0.0.1');
      this.#sockets.push(near, far);
      for (const socket of [near, far]) socket.on('error', () => {});
      // What has passed arrives before the end does.
      near.on('close', () => far.end());
      far.on('close', () => near.end());
      this.#pass(near, far, { direction: 'to-source', connection }, meddling, cut);
      this.#pass(far, near, { direction: 'to-destination', connection }, meddling, cut);
    });
  }

  /** Listens in front of a source. */
  static async start(target: number, meddling: Meddling, cut = cutRecords): Promise<Meddler> {
    const meddler = new Meddler(target, meddling, cut);
    await new Promise<void>((resolve) => meddler.#server.listen(0, '127.0.0.1', resolve));
    meddler.port = (meddler.#server.address() as { port: number }).port;
    return meddler;
  }

  /** Cuts every connection; others may come. */
  cut(): void {
    for (const socket of this.#sockets.splice(0)) socket.destroy();
  }

  close(): void {
    this.#server.close();
    this.cut();
  }

  #pass(
    from: Socket,
    to: Socket,
    where: Pick<Piece, 'direction' | 'connection'>,
    meddling: Meddling,
    cut: Cut,
  ): void {
    let held = Buffer.alloc(0);
    let index = 0;
    from.on('data', (chunk) => {
      held = Buffer.concat([held, chunk]);
      for (;;) {
        const length = cut(held, index);
        if (length === undefined || held.byteLength < length) return;
        const piece = { ...where, index: index++, bytes: Buffer.from(held.subarray(0, length)) };
        held = held.subarray(length);
        this.said.push(piece);
        for (const bytes of meddling(piece)) if (!to.destroyed) to.write(bytes);
      }
    });
  }
}
