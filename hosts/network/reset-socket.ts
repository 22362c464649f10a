/**
 * Ends a socket with a reset. libuv refuses that while a shutdown is under way, and Node then neither closes
 * the socket nor lets its thread end; such a socket has told its end already and is just closed, as one that
 * is still connecting.
 */

import type { Socket } from 'node:net';

export function resetSocket(socket: Socket): void {
  if (socket.connecting || (socket.writableEnded && !socket.writableFinished)) socket.destroy();
  else socket.resetAndDestroy();
}
