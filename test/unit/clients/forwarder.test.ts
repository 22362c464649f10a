/**
 * The forwarder and its uplink over real sockets, with guests of the test's own: what clients outside get while a guest
 * moves, whoever speaks out of turn.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { Forwarder } from '../../../clients/forwarder.ts';
import { ForwarderUplink } from '../../../hosts/guest-nic/forwarder-uplink.ts';
import { encodeFrame, FORWARDER_WIRE_VERSION, type HostFrame } from '../../../proto/forwarder-wire.ts';
import { decodeResponse, encodeRequest, RequestOperation } from '../../../proto/guest-request.ts';
import { MessageSplitter, withLength } from '../../../proto/message-stream.ts';
import { EchoGuest, EchoMemory } from './echo-guest.ts';

const TOKEN = 'the token';
const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function startForwarder(turned: (epoch: bigint) => void = () => {}): Promise<Forwarder> {
  const forwarder = await Forwarder.start({
    ...{ address: '127.0.0.1', port: 0, guests: ['web'], token: TOKEN },
    turned: (_guest, _host, epoch) => turned(epoch),
  });
  closers.push(() => forwarder.close());
  return forwarder;
}

function portOf(address: string | undefined): number {
  return Number(address?.split(':')[1]);
}

function uplinkTo(
  forwarder: Forwarder,
  epoch: number,
  changes: { token?: string; guest?: string; port?: number } = {},
) {
  const { guest = 'web', token = TOKEN, port = portOf(forwarder.address) } = changes;
  const network = { address: '', port: 0, forwarder: forwarder.address, token, announce: undefined };
  const dial = { address: '127.0.0.1', port };
  const uplink = new ForwarderUplink({ guest, network, epoch, dial });
  closers.push(() => uplink.close());
  return uplink;
}

async function guestAt(forwarder: Forwarder, epoch: number, memory: EchoMemory): Promise<EchoGuest> {
  const guest = new EchoGuest(uplinkTo(forwarder, epoch), memory);
  await guest.uplink.start(guest);
  return guest;
}

const until = (condition: () => boolean): Promise<void> =>
  vi.waitFor(() => expect(condition()).toBe(true), { timeout: 240_000, interval: 5 });

/** A client with one TCP connection; the versions that it was answered, by the numbers of its requests. */
async function tcpClient(forwarder: Forwarder) {
  const socket = connect({ host: '127.0.0.1', port: portOf(forwarder.guestAddresses.web) });
  closers.push(() => socket.destroy());
  await once(socket, 'connect');
  const splitter = new MessageSplitter(2048);
  const versions = new Map<number, number>();
  const answers: number[] = [];
  socket.on('data', (chunk: Buffer) => {
    splitter.push(chunk);
    for (let next = splitter.next(); typeof next !== 'string'; next = splitter.next()) {
      const response = decodeResponse(next)!;
      versions.set(Number(response.number), response.version);
      answers.push(Number(response.number));
    }
  });
  const set = (number: number) =>
    socket.write(
      withLength(encodeRequest({ operation: RequestOperation.SET, key: 1, number: BigInt(number) })),
    );
  return { socket, versions, answers, set };
}

/** Speaks to a forwarder as a host would that keeps no rules. */
async function rawHost(forwarder: Forwarder): Promise<{ socket: Socket; say: (frame: HostFrame) => void }> {
  const socket = connect({ host: '127.0.0.1', port: portOf(forwarder.address) });
  closers.push(() => socket.destroy());
  await once(socket, 'connect');
  const say = (frame: HostFrame): void => void socket.write(withLength(encodeFrame(frame)));
  say({ kind: 'hello', version: FORWARDER_WIRE_VERSION, token: TOKEN, guest: 'web' });
  return { socket, say };
}

/** A way to a port that can be cut, and that can swallow what goes there. */
class Way {
  isMute = false;
  /** Whoever comes is sent away. */
  isShut = false;
  readonly port: number;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, target: number) {
    this.port = (server.address() as { port: number }).port;
    closers.push(
      () => server.close(),
      () => this.cut(),
    );
    server.on('connection', (accepted) => {
      if (this.isShut) {
        accepted.destroy();
        return;
      }
      const led = connect({ host: '127.0.0.1', port: target });
      accepted.on('data', (chunk) => this.isMute || led.write(chunk));
      led.on('data', (chunk) => accepted.write(chunk));
      for (const socket of [accepted, led]) {
        this.#sockets.add(socket);
        socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
      }
    });
  }

  static async to(target: number): Promise<Way> {
    const server = createServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return new Way(server, target);
  }

  cut(): void {
    this.isMute = false;
    for (const socket of this.#sockets) socket.destroy();
  }
}

test('a guest is reached over UDP and TCP at one address', async () => {
  const forwarder = await startForwarder();
  (await guestAt(forwarder, 1, new EchoMemory())).run();
  const client = await tcpClient(forwarder);
  client.set(7);
  await until(() => client.versions.get(7) === 1);
  const udp = createSocket('udp4');
  closers.push(() => udp.close());
  const request = encodeRequest({ operation: RequestOperation.GET, key: 1, number: 2n ** 60n });
  udp.send(request, portOf(forwarder.guestAddresses.web), '127.0.0.1');
  const [answer] = (await once(udp, 'message')) as [Buffer];
  expect(decodeResponse(answer)).toMatchObject({ number: 2n ** 60n, version: 1 });
});

test('the new host answers what the old one took, has again what it did not take, and nothing twice', async () => {
  const forwarder = await startForwarder();
  const memory = new EchoMemory();
  const source = await guestAt(forwarder, 1, memory);
  const destination = await guestAt(forwarder, 2, memory);
  source.run();
  const client = await tcpClient(forwarder);
  source.isSlow = true;
  for (let number = 1; number <= 10; number++) client.set(number);
  await until(() => memory.ring.length === 10);
  source.isHeld = true;
  for (let number = 11; number <= 20; number++) client.set(number);
  await until(() => forwarder.counts('web')?.asked === 20);
  source.uplink.withdraw();
  client.set(21);
  destination.run();
  await until(() => client.answers.length === 21);
  // In their order, each once: the versions of the one key say so.
  expect([...client.versions.values()]).toEqual(Array.from({ length: 21 }, (_, index) => index + 1));
  expect(memory.servedCount).toBe(21);
  expect(forwarder.counts('web')).toMatchObject({ answered: 21, unasked: 0, dropped: 0 });
  // The last one may have come before the withdrawal did.
  expect([10, 11]).toContain(forwarder.counts('web')?.sentAgain);
});

test('requests wait for a guest that stands still, and go on to it when the migration fails', async () => {
  const forwarder = await startForwarder();
  const guest = await guestAt(forwarder, 1, new EchoMemory());
  guest.run();
  guest.isHeld = true;
  const client = await tcpClient(forwarder);
  // More than the forwarder sends without hearing that they were taken.
  for (let number = 1; number <= 3000; number++) client.set(number);
  await until(() => forwarder.counts('web')?.asked === 3000);
  expect(client.answers).toEqual([]);
  guest.isHeld = false;
  guest.uplink.room();
  await until(() => client.answers.length === 3000);
  expect(forwarder.counts('web')).toMatchObject({ answered: 3000, sentAgain: 0 });
});

test('a stale host that announces a lower epoch is not listened to, and the host of the greatest is', async () => {
  const turns: bigint[] = [];
  const forwarder = await startForwarder((epoch) => turns.push(epoch));
  const memory = new EchoMemory();
  const destination = await guestAt(forwarder, 5, memory);
  destination.run();
  const stale = await rawHost(forwarder);
  const heard: Buffer[] = [];
  stale.socket.on('data', (chunk: Buffer) => heard.push(chunk));
  await until(() => heard.length > 0);
  stale.say({ kind: 'announce', epoch: 4n, round: 1 });
  // Nor may it end the guest, or take its requests from it.
  stale.say({ kind: 'end' });
  stale.say({ kind: 'withdraw' });
  const client = await tcpClient(forwarder);
  client.set(1);
  await until(() => client.versions.get(1) === 1);
  expect(Buffer.concat(heard)).toEqual(withLength(encodeFrame({ kind: 'welcome' })));
  // The same host with the right to speak is turned to.
  stale.say({ kind: 'announce', epoch: 6n, round: 1 });
  await until(() => turns.length === 2);
  expect(turns).toEqual([5n, 6n]);
  client.set(2);
  await until(() => heard.length > 1);
  expect(memory.servedCount).toBe(1);
});

test('a guest of the same name that is made anew begins with any epoch', async () => {
  const forwarder = await startForwarder();
  const first = await guestAt(forwarder, 9, new EchoMemory());
  first.run();
  await first.uplink.close();
  const second = await guestAt(forwarder, 1, new EchoMemory());
  second.run();
  const client = await tcpClient(forwarder);
  client.set(1);
  await until(() => client.versions.get(1) === 1);
});

test('a guest whose last host has died is made anew with any epoch', async () => {
  const forwarder = await startForwarder();
  const host = await rawHost(forwarder);
  host.say({ kind: 'announce', epoch: 9n, round: 1 });
  const client = await tcpClient(forwarder);
  client.set(1);
  // Its welcome, and the request: it has been turned to.
  let heardBytes = 0;
  host.socket.on('data', (chunk: Buffer) => {
    heardBytes += chunk.byteLength;
  });
  await until(() => heardBytes > encodeFrame({ kind: 'welcome' }).byteLength + 4);
  host.socket.destroy();
  const guest = await guestAt(forwarder, 1, new EchoMemory());
  guest.run();
  // As a NIC does: the first one may come before the forwarder knows that the other host is gone.
  await until(() => {
    guest.uplink.announce(2);
    return client.versions.get(1) === 1;
  });
});

test('a forwarder refuses more guests than it can have', async () => {
  const guests = Array.from({ length: 65 }, (_, index) => `web-${index}`);
  const starting = Forwarder.start({ address: '127.0.0.1', port: 0, guests, token: TOKEN });
  await expect(starting).rejects.toThrow('forwarding 65 guests; allowed are at most 64');
});

test('a connection that breaks is made again, and what the guest had taken is not given to it twice', async () => {
  const forwarder = await startForwarder();
  const way = await Way.to(portOf(forwarder.address));
  const memory = new EchoMemory();
  const uplink = uplinkTo(forwarder, 1, { port: way.port });
  const guest = new EchoGuest(uplink, memory);
  await uplink.start(guest);
  guest.isSlow = true;
  guest.run();
  const client = await tcpClient(forwarder);
  client.set(1);
  await until(() => memory.ring.length === 1);
  // That the next ones were taken is never heard, since the way breaks.
  way.isMute = true;
  client.set(2);
  client.set(3);
  await until(() => memory.ring.length === 3);
  way.cut();
  await until(() => forwarder.counts('web')?.sentAgain === 2);
  guest.serve();
  await until(() => client.answers.length === 3);
  client.set(4);
  await until(() => memory.ring.length === 1);
  expect(memory.servedCount).toBe(3);
});

test('what the source took and could not say before another host announced the guest is carried out once', async () => {
  const forwarder = await startForwarder();
  const way = await Way.to(portOf(forwarder.address));
  const memory = new EchoMemory();
  const uplink = uplinkTo(forwarder, 1, { port: way.port });
  const source = new EchoGuest(uplink, memory);
  await uplink.start(source);
  const destination = await guestAt(forwarder, 2, memory);
  source.isSlow = true;
  source.run();
  const client = await tcpClient(forwarder);
  client.set(1);
  await until(() => memory.ring.length === 1);
  way.isMute = true;
  client.set(2);
  client.set(3);
  await until(() => memory.ring.length === 3);
  source.isHeld = true;
  client.set(4);
  await until(() => forwarder.counts('web')?.asked === 4);
  destination.isSlow = true;
  destination.isHeld = false;
  destination.uplink.announce(1);
  await until(() => forwarder.counts('web')?.sentAgain === 3 && memory.ring.length > 3);
  destination.isSlow = false;
  destination.serve();
  client.set(5);
  await until(() => client.answers.length === 5);
  // All versions of the one key, each once: 2 and 3 came again, and were not taken again.
  expect([...client.versions.values()]).toEqual([1, 2, 3, 4, 5]);
  expect(memory.servedCount).toBe(5);
  expect(forwarder.counts('web')).toMatchObject({ answered: 5, unasked: 0 });
});

test('an answer that cannot be sent stays in the guest until the connection stands again', async () => {
  const forwarder = await startForwarder();
  const way = await Way.to(portOf(forwarder.address));
  const memory = new EchoMemory();
  const uplink = uplinkTo(forwarder, 1, { port: way.port });
  const guest = new EchoGuest(uplink, memory);
  await uplink.start(guest);
  guest.isSlow = true;
  guest.run();
  const client = await tcpClient(forwarder);
  client.set(1);
  await until(() => memory.ring.length === 1);
  guest.isSlow = false;
  way.isShut = true;
  way.cut();
  await until(() => !uplink.canSend);
  guest.serve();
  expect(memory.ring).toHaveLength(1);
  await until(() => guest.troubles.at(-1)?.includes('trying again') === true);
  way.isShut = false;
  await until(() => client.versions.get(1) === 1);
  expect(memory.servedCount).toBe(1);
  expect(guest.troubles.at(-1)).toBe('');
});

test('a host that closes does not wait for the forwarder, and resets nothing', async () => {
  const server = createServer({ allowHalfOpen: true });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  closers.push(() => server.close());
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const { port } = server.address() as { port: number };
  const forwarder = await startForwarder();
  const guest = new EchoGuest(uplinkTo(forwarder, 1, { port }), new EchoMemory());
  const starting = guest.uplink.start(guest);
  const [socket] = await accepted;
  closers.push(() => socket.destroy());
  socket.resume().write(withLength(encodeFrame({ kind: 'welcome' })));
  await starting;
  guest.run();
  await guest.uplink.close();
  // A request that comes now must not take away what the host said before.
  const request = { kind: 'request', flow: Buffer.alloc(16, 1), message: Buffer.alloc(16) } as const;
  const bytes = withLength(encodeFrame(request));
  await new Promise((resolve) => socket.write(bytes, resolve));
  // After a reset this would fail, and what fails is thrown here.
  socket.end(bytes);
  await once(socket, 'close');
});

test('a host with a wrong token, or of a guest that nobody forwards, is refused with the reason', async () => {
  const forwarder = await startForwarder();
  const nobody = new EchoGuest(uplinkTo(forwarder, 1), new EchoMemory());
  await expect(uplinkTo(forwarder, 1, { token: 'guessed!!' }).start(nobody)).rejects.toThrow(
    /forwarder of guest "web" at 127.0.0.1:\d+.*refused: the token is wrong/,
  );
  await expect(uplinkTo(forwarder, 1, { guest: 'db' }).start(nobody)).rejects.toThrow(
    /forwards no guest "db"/,
  );
  const junk = connect({ host: '127.0.0.1', port: portOf(forwarder.address) });
  closers.push(() => junk.destroy());
  junk.resume().write('GET / HTTP/1.1\r\n\r\n');
  await once(junk, 'close');
  await forwarder.close();
  closers.length = 0;
  await expect(uplinkTo(forwarder, 1).start(nobody)).rejects.toThrow(/ECONNREFUSED/);
});
