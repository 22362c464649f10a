/**
 * The relay with real sockets: what goes in comes out, once, in order and whole, whatever the shape; and each
 * fault does what its name says. Nothing here depends on how fast the machine is: times are only held to be
 * no shorter than asked.
 */

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { EARLY_MS, PASS_MS } from '../../../hosts/network/limits.ts';
import { Nic } from '../../../hosts/network/nic.ts';
import { runProbe, serveProbe } from '../../../hosts/network/probe.ts';
import {
  LinkDirection,
  type LinkFault,
  LinkFaultKind,
  type LinkShape,
  type NetworkShape,
} from '../../../proto/generated/godwit/v1/network.ts';
import { NO_FAULT, UNSHAPED_LINK, unshapedNetwork } from '../../../proto/network-shape.ts';
import { Random } from '../../../workloads/random.ts';

const nics: Nic[] = [];
const servers: Server[] = [];
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
  await Promise.all(nics.splice(0).map((nic) => nic.close()));
});

async function startNic(shape: NetworkShape = unshapedNetwork()): Promise<Nic> {
  const nic = await Nic.start(7);
  nics.push(nic);
  await nic.setShape(shape);
  return nic;
}

function kept(socket: Socket): Socket {
  sockets.push(socket);
  socket.on('error', () => {});
  return socket;
}

/** A server whose connections the test takes one by one. */
async function listen(): Promise<{ port: number; accepted: () => Promise<Socket> }> {
  const server = createServer({ allowHalfOpen: true });
  servers.push(server);
  const waiting: Socket[] = [];
  server.on('connection', (socket) => waiting.push(kept(socket)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = async () => {
    while (waiting.length === 0) await once(server, 'connection');
    return waiting.shift()!;
  };
  return { port: (server.address() as AddressInfo).port, accepted };
}

function dial(port: number): Socket {
  return kept(connect({ host: '127.0.0.1', port, allowHalfOpen: true }));
}

/** A connection through the NIC outwards, with both its ends. */
async function connected(nic: Nic, peer = ''): Promise<{ client: Socket; server: Socket }> {
  const { port, accepted } = await listen();
  const client = dial(await nic.dial('127.0.0.1', port, peer));
  return { client, server: await accepted() };
}

const link = (changes: Partial<LinkShape>): LinkShape => ({ ...UNSHAPED_LINK, ...changes });
const both = (changes: Partial<LinkShape>): NetworkShape => ({
  egress: link(changes),
  ingress: link(changes),
  peers: [],
});
const fault = (changes: Partial<LinkFault>): LinkFault => ({ ...NO_FAULT, ...changes });

async function next(socket: Socket): Promise<string> {
  return String((await once(socket, 'data'))[0]);
}

/** Writes everything in chunks of random sizes, as fast as the other side takes it, and ends. */
async function sendInChunks(socket: Socket, data: Buffer, random: Random): Promise<void> {
  for (let from = 0; from < data.length; ) {
    const bytes = 1 + random.below(random.below(4) === 0 ? 200_000 : 2_000);
    if (!socket.write(data.subarray(from, from + bytes))) await once(socket, 'drain');
    from += bytes;
  }
  socket.end();
}

function noise(bytes: number, random: Random): Buffer {
  return Buffer.from(Uint32Array.from({ length: bytes / 4 }, () => random.next()).buffer);
}

describe('bytes', () => {
  test.each([1, 2, 3])('come out as they went in, both ways, while shapes change (seed %i)', async (seed) => {
    const random = new Random(BigInt(seed), 0);
    const shapes = () => {
      const delayMs = random.below(4);
      return both({
        rateBytesPerS: random.below(3) === 0 ? 0 : 2e6 + random.below(5e7),
        delayMs,
        jitterMs: delayMs * random.fraction(),
        queueBytes: random.below(2) === 0 ? 0 : 4096 + random.below(100_000),
      });
    };
    const [near, far] = [await startNic(shapes()), await startNic(shapes())];
    const { port, accepted } = await listen();
    const exposed = await far.expose(port, '127.0.0.1', 'near');
    const client = dial(await near.dial('127.0.0.1', exposed, 'far'));
    const server = await accepted();
    const [there, back] = [noise(3_000_000, random), noise(2_000_000, random)];
    let over = false;
    const changing = (async () => {
      while (!over) {
        await near.setShape({ ...shapes(), peers: [{ peer: 'far', ...both({ delayMs: random.below(3) }) }] });
        await far.setShape(shapes());
      }
    })();
    const [atServer, atClient] = await Promise.all([
      buffer(server),
      buffer(client),
      sendInChunks(client, there, random),
      sendInChunks(server, back, new Random(BigInt(seed), 1)),
    ]);
    over = true;
    await changing;
    expect(atServer.equals(there)).toBe(true);
    expect(atClient.equals(back)).toBe(true);
    expect(await near.stats()).toMatchObject({ egressBytes: there.length, ingressBytes: back.length });
  });

  test('wait at the sender when nobody reads: no more than the queue is in the relay', async () => {
    const queueBytes = 100_000;
    const nic = await startNic(both({ rateBytesPerS: 1e8, queueBytes }));
    const { client, server } = await connected(nic);
    server.pause();
    // More than any kernel buffers for two connections.
    const block = Buffer.alloc(1_000_000);
    const total = 200 * block.length;
    for (let sent = 0; sent < total; sent += block.length) client.write(block);
    let seen = -1;
    for (let still = 0; still < 200; ) {
      const { egressBytes, inFlightBytes } = await nic.stats();
      // A read may find room for one byte, and brings 64 KiB.
      expect(inFlightBytes).toBeLessThanOrEqual(queueBytes + 65_536);
      still = egressBytes === seen && inFlightBytes >= queueBytes ? still + 1 : 0;
      seen = egressBytes;
      await turn();
    }
    expect(client.writableLength).toBeGreaterThan(0);
  });

  test('of an end come before the end, in both directions, one after the other', async () => {
    const nic = await startNic(both({ rateBytesPerS: 2e7, delayMs: 2 }));
    const { client, server } = await connected(nic);
    client.end(Buffer.alloc(500_000, 1));
    const atServer = await buffer(server);
    expect(atServer.length).toBe(500_000);
    server.end(Buffer.alloc(400_000, 2));
    expect((await buffer(client)).length).toBe(400_000);
    while ((await nic.stats()).connections > 0) await turn();
  });
});

describe('a link', () => {
  test('is not faster than asked, in rate and delay', async () => {
    const [rateBytesPerS, delayMs] = [5e6, 20];
    const nic = await startNic(both({ rateBytesPerS, delayMs }));
    const { client, server } = await connected(nic);
    const bytes = 1_000_000;
    const startMs = performance.now();
    client.end(Buffer.alloc(bytes));
    await buffer(server);
    const leastMs = (bytes / rateBytesPerS) * 1000 + delayMs - PASS_MS - EARLY_MS;
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(leastMs);
  });

  test('is what a probe finds, and the probe refuses another token', async () => {
    const nic = await startNic(both({ delayMs: 10 }));
    const server = await serveProbe('127.0.0.1', 'right');
    try {
      const port = await nic.dial('127.0.0.1', server.port, '');
      const about = { address: '127.0.0.1', port, roundTripCount: 3, warmUpMs: 5, measureMs: 20 };
      const result = await runProbe({ ...about, token: 'right' });
      expect(result.roundTripMinMs).toBeGreaterThanOrEqual(2 * (10 - PASS_MS - EARLY_MS));
      expect(result.receivedBytes).toBeGreaterThan(0n);
      expect(result.measuredMs).toBeGreaterThanOrEqual(20);
      await expect(runProbe({ ...about, token: 'wrong' })).rejects.toThrow(`probe of 127.0.0.1:${port}`);
      await expect(runProbe({ ...about, token: 'right', measureMs: 1e9 })).rejects.toThrow(
        'together allowed',
      );
    } finally {
      await server.close();
    }
  });

  test('that nobody listens behind is a reset, not silence', async () => {
    const nic = await startNic();
    const { port } = await listen();
    const closing = servers.pop()!;
    closing.close();
    await once(closing, 'close');
    const client = dial(await nic.dial('127.0.0.1', port, ''));
    client.resume();
    const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNRESET');
  });

  test('that asks for loss is refused, since a stream has no packets to lose', async () => {
    const nic = await startNic();
    await expect(nic.setShape(both({ loss: 0.01 }))).rejects.toThrow('it needs tc with netem');
    await expect(nic.setShape(both({ delayMs: -1 }))).rejects.toThrow('egress delay is -1');
  });
});

describe('a fault', () => {
  test('cut holds what is sent to its peer, lets others pass, and goes on afterwards', async () => {
    const nic = await startNic(both({ delayMs: 1 }));
    const [cut, whole] = [await connected(nic, 'far'), await connected(nic, 'other')];
    await nic.setFault(fault({ kind: LinkFaultKind.LINK_FAULT_KIND_CUT, peer: 'far' }));
    const held: Buffer[] = [];
    cut.server.on('data', (chunk) => held.push(chunk));
    cut.client.write('held');
    for (let trip = 0; trip < 5; trip++) {
      whole.client.write('ping');
      expect(await next(whole.server)).toBe('ping');
    }
    expect(held).toEqual([]);
    const arrived = next(cut.server);
    await nic.setFault(NO_FAULT);
    expect(await arrived).toBe('held');
  });

  test('cut lets no new connection come to stand until it is over', async () => {
    const nic = await startNic();
    const { port, accepted } = await listen();
    const entry = await nic.dial('127.0.0.1', port, 'far');
    const { client, server } = await connected(nic, 'other');
    await nic.setFault(fault({ kind: LinkFaultKind.LINK_FAULT_KIND_CUT, peer: 'far' }));
    let stands = false;
    const late = accepted().then((socket) => {
      stands = true;
      return socket;
    });
    dial(entry).write('hello');
    for (let trip = 0; trip < 5; trip++) {
      client.write('ping');
      await next(server);
    }
    expect(stands).toBe(false);
    await nic.setFault(NO_FAULT);
    expect(await next(await late)).toBe('hello');
  });

  test('half-open holds one direction only', async () => {
    const nic = await startNic();
    const { client, server } = await connected(nic);
    const direction = LinkDirection.LINK_DIRECTION_EGRESS;
    await nic.setFault(fault({ kind: LinkFaultKind.LINK_FAULT_KIND_HALF_OPEN, direction }));
    const held: Buffer[] = [];
    server.on('data', (chunk) => held.push(chunk));
    client.write('held');
    for (let trip = 0; trip < 5; trip++) {
      server.write('down');
      expect(await next(client)).toBe('down');
    }
    expect(held).toEqual([]);
    const arrived = next(server);
    await nic.setFault(NO_FAULT);
    expect(await arrived).toBe('held');
  });

  test('stall ends by itself, and not before its time', async () => {
    const nic = await startNic();
    const { client, server } = await connected(nic);
    const startMs = performance.now();
    await nic.setFault(fault({ kind: LinkFaultKind.LINK_FAULT_KIND_STALL, durationMs: 100 }));
    client.write('late');
    expect(await next(server)).toBe('late');
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(100 - 1);
  });

  test('reset ends all connections at both sides, and new ones work', async () => {
    const nic = await startNic();
    const { client, server } = await connected(nic);
    client.write('x');
    await next(server);
    const errors = Promise.all([once(client.resume(), 'error'), once(server.resume(), 'error')]);
    await nic.setFault(fault({ kind: LinkFaultKind.LINK_FAULT_KIND_RESET }));
    for (const [error] of (await errors) as NodeJS.ErrnoException[][]) expect(error?.code).toBe('ECONNRESET');
    const again = await connected(nic);
    again.client.write('y');
    expect(await next(again.server)).toBe('y');
  });

  test('slow close passes the bytes, and tells the end later', async () => {
    const nic = await startNic();
    const { client, server } = await connected(nic);
    await nic.setFault(fault({ kind: LinkFaultKind.LINK_FAULT_KIND_SLOW_CLOSE, durationMs: 100 }));
    const startMs = performance.now();
    client.end('last');
    expect(await next(server)).toBe('last');
    await once(server, 'end');
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(100 - 1);
  });

  test('that an end of a connection brings about itself, a reset, reaches the other end', async () => {
    const nic = await startNic(both({ delayMs: 3 }));
    const { client, server } = await connected(nic);
    client.write('x');
    await next(server);
    const failed = once(server.resume(), 'error');
    client.resetAndDestroy();
    expect(((await failed) as [NodeJS.ErrnoException])[0].code).toBe('ECONNRESET');
    while ((await nic.stats()).connections > 0) await turn();
  });
});

describe('a NIC', () => {
  test('that is closed resets its connections and ends its thread', async () => {
    const nic = await startNic();
    const { client } = await connected(nic);
    const gone = new Promise((resolve) => client.resume().once('close', resolve));
    await nic.close();
    await gone;
    await expect(nic.stats()).rejects.toThrow('the NIC is closed');
    await nic.close();
  });

  test('that releases a port listens there no more, and keeps the connections', async () => {
    const nic = await startNic();
    const { port, accepted } = await listen();
    const entry = await nic.dial('127.0.0.1', port, '');
    const client = dial(entry);
    const server = await accepted();
    await nic.release(entry);
    const [error] = (await once(dial(entry), 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNREFUSED');
    client.write('still');
    expect(await next(server)).toBe('still');
    await expect(nic.release(entry)).rejects.toThrow(`port ${entry} is none of this NIC's`);
  });
});
