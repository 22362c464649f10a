/**
 * The forwarder: keeps one address for each guest, whichever host it runs on. Clients speak to that address; a
 * guest's hosts connect here, and requests go to the one that announced the guest last (docs/clients.md).
 */

import { randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { nowMs } from '../proto/clock.ts';
import { PATIENCE } from '../proto/deadlines.ts';
import { FORWARDER_WIRE_VERSION } from '../proto/forwarder-wire.ts';
import { ClientDoor } from './client-door.ts';
import { type GuestEnd, HostLine } from './host-line.ts';
import { FORWARDER_LIMITS } from './limits.ts';
import { type RequestCounts, RequestTable } from './request-table.ts';

/** What nobody answered for so long is forgotten; no client waits for it. */
const REQUEST_MS = 600_000 * PATIENCE;

export interface ForwarderSettings {
  /** The IPv4 address on which hosts and clients are listened for. */
  readonly address: string;
  /** Of the hosts' side; 0 for any that is free. */
  readonly port: number;
  readonly guests: readonly string[];
  /** What hosts have to say. */
  readonly token: string;
  /** Told when a guest is somewhere else than before. */
  readonly turned?: (guest: string, host: string, epoch: bigint) => void;
}

/** One guest: its clients on one side, its hosts on the other. */
class GuestFront implements GuestEnd {
  readonly table: RequestTable;
  readonly door: ClientDoor;
  readonly #turned: (host: string, epoch: bigint) => void;
  readonly #name: string;
  /** Every host that has the guest, or is about to. */
  readonly #lines = new Set<HostLine>();
  /** The host that announced the guest last; stale ones have a lower epoch and are not listened to. */
  #line: HostLine | undefined;
  #epoch = 0n;
  /** The last line that was not listened to: its announcements are told once. */
  #ignored: HostLine | undefined;

  constructor(
    name: string,
    table: RequestTable,
    door: ClientDoor,
    turned: (host: string, epoch: bigint) => void,
  ) {
    this.#name = name;
    this.table = table;
    this.door = door;
    this.#turned = turned;
  }

  joined(line: HostLine): void {
    this.#lines.add(line);
  }

  announced(line: HostLine, epoch: bigint): void {
    if (epoch < this.#epoch) {
      this.#ignore(line, epoch);
      return;
    }
    if (line === this.#line && epoch === this.#epoch) return;
    this.#epoch = epoch;
    this.#line = line;
    this.table.turnTo(line);
    this.#turned(line.peer, epoch);
  }

  withdrawn(line: HostLine): void {
    if (line !== this.#line) return;
    this.#line = undefined;
    this.table.turnTo(undefined);
  }

  ended(line: HostLine): void {
    if (line !== this.#line) return;
    this.withdrawn(line);
    this.#epoch = 0n;
  }

  taken(line: HostLine, number: number): void {
    this.table.taken(line, number);
  }

  answer(number: number, message: Buffer): void {
    this.table.answer(number, message);
    this.door.readHalted();
  }

  gone(line: HostLine): void {
    if (line === this.#line) this.#line = undefined;
    if (line === this.#ignored) this.#ignored = undefined;
    this.table.gone(line);
    this.#lines.delete(line);
    // Nobody has the guest, and nobody is left who could be stale: it may be made anew, with any epoch.
    if (this.#lines.size === 0) this.#epoch = 0n;
  }

  #ignore(line: HostLine, epoch: bigint): void {
    if (line === this.#ignored) return;
    this.#ignored = line;
    process.stderr.write(
      `godwit forwarder: host ${line.peer} announces guest "${this.#name}" under epoch ${epoch}, which is ` +
        `ignored: epoch ${this.#epoch} was announced before\n`,
    );
  }
}

export class Forwarder {
  /** Where hosts connect: "address:port". */
  readonly address: string;
  readonly #server: Server;
  readonly #guests: ReadonlyMap<string, GuestFront>;
  readonly #token: string;
  readonly #lines = new Set<HostLine>();
  readonly #sweeper: NodeJS.Timeout;

  private constructor(server: Server, guests: ReadonlyMap<string, GuestFront>, settings: ForwarderSettings) {
    const { port } = server.address() as { port: number };
    this.address = `${settings.address}:${port}`;
    this.#server = server;
    this.#guests = guests;
    this.#token = settings.token;
    const instance = randomBytes(8);
    server.maxConnections = FORWARDER_LIMITS.hostConnectionsMax;
    // A connection that cannot be accepted: its host is told by the kernel, and tries again.
    server.on('error', () => {});
    server.on('connection', (socket) => {
      const line = new HostLine(socket, instance, (hello) => this.#greet(hello));
      this.#lines.add(line);
      socket.on('close', () => this.#lines.delete(line));
    });
    this.#sweeper = setInterval(() => this.#sweep(), FORWARDER_LIMITS.sweepMs);
  }

  /** @throws Error for too many guests, or when an address or a port cannot be had; nothing is open then */
  static async start(settings: ForwarderSettings): Promise<Forwarder> {
    const { address, port, turned } = settings;
    const { guestsMax } = FORWARDER_LIMITS;
    if (settings.guests.length > guestsMax) {
      throw new Error(
        `forwarding ${settings.guests.length} guests; allowed are at most ${guestsMax}; ` +
          'start another forwarder for the others',
      );
    }
    const guests = new Map<string, GuestFront>();
    const server = createServer({ noDelay: true, keepAlive: true });
    try {
      for (const name of settings.guests) {
        const table = new RequestTable();
        const door = await ClientDoor.open(table, address, 0);
        guests.set(name, new GuestFront(name, table, door, (host, epoch) => turned?.(name, host, epoch)));
      }
      await once(server.listen(port, address), 'listening');
    } catch (error) {
      server.close();
      await Promise.all([...guests.values()].map(({ door }) => door.close()));
      throw error;
    }
    return new Forwarder(server, guests, settings);
  }

  /** Where a guest's clients connect, "address:port" for UDP and TCP, by the guest's name. */
  get guestAddresses(): Record<string, string> {
    const [address] = this.address.split(':');
    return Object.fromEntries([...this.#guests].map(([name, { door }]) => [name, `${address}:${door.port}`]));
  }

  /** What has become of a guest's requests. */
  counts(guest: string): Readonly<RequestCounts> | undefined {
    return this.#guests.get(guest)?.table.counts;
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const line of this.#lines) line.close();
    await Promise.all([closed, ...[...this.#guests.values()].map(({ door }) => door.close())]);
  }

  #greet(hello: { version: number; token: string; guest: string }): GuestEnd | string {
    if (hello.version !== FORWARDER_WIRE_VERSION) {
      return `it speaks version ${hello.version}, and the forwarder ${FORWARDER_WIRE_VERSION}`;
    }
    const [said, right] = [Buffer.from(hello.token), Buffer.from(this.#token)];
    if (said.byteLength !== right.byteLength || !timingSafeEqual(said, right)) return 'the token is wrong';
    return this.#guests.get(hello.guest) ?? `it forwards no guest "${hello.guest}"`;
  }

  #sweep(): void {
    for (const front of this.#guests.values()) {
      front.table.expire(nowMs() - REQUEST_MS);
      front.door.readHalted();
    }
  }
}
