/**
 * The sending side of a bare socket as a process: prints its port, and gives whoever connects so many bytes,
 * in pieces as large as those of a migration.
 */

import { type AddressInfo, createServer } from 'node:net';
import { PAGE_BYTES } from '../proto/page.ts';

const PIECE_PAGES = 256;

const byteCount = Number(process.argv[2]);
const piece = Buffer.alloc(PIECE_PAGES * PAGE_BYTES, 1);
const server = createServer({ noDelay: true }, (socket) => {
  let written = 0;
  const write = (): void => {
    while (written < byteCount) {
      written += piece.byteLength;
      if (!socket.write(piece)) break;
    }
  };
  socket.on('drain', write);
  write();
});
server.listen(0, '127.0.0.1', () => console.log(`port ${(server.address() as AddressInfo).port}`));
