/**
 * The uplink of a guest whose address a forwarder keeps: one TCP connection to the forwarder, on which requests
 * come and responses go (proto/forwarder-wire.ts). It stands before the guest runs here, so that the
 * announcement is one small frame; when it breaks it is made again as long as the guest is here.
 */

import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { errorText } from '../../proto/errors.ts';
import {
  decodeForwarderFrame,
  encodeFrame,
  FORWARDER_FRAME_BYTES_MAX,
  FORWARDER_WINDOW,
  FORWARDER_WIRE_VERSION,
  type ForwarderFrame,
  flowInstance,
  flowNumber,
  type HostFrame,
} from '../../proto/forwarder-wire.ts';
import type { GuestNetwork } from '../../proto/generated/godwit/v1/guest.ts';
import { MessageSplitter, SplitEnd, sendMessage, withLength } from '../../proto/message-stream.ts';
import type { Endpoint } from '../network-path.ts';
import { rehearseFrames } from './rehearsal.ts';
import type { Flow, NicPort, Uplink } from './uplink.ts';

const LIMITS = {
  /** What may wait in the socket; beyond it responses stay in the guest. */
  unsentBytes: 4 * 1024 * 1024,
  retryMsMin: 50,
  retryMsMax: 1000,
  /** How long a closed connection waits for the forwarder to close it too; less than its thread has to end. */
  lingerMs: DEADLINES_MS.processStop / 2,
} as const;

export interface ForwarderUplinkSettings {
  readonly guest: string;
  readonly network: GuestNetwork;
  /** The ownership epoch under which the guest runs here, or will. */
  readonly epoch: number;
  /** Where the forwarder is, as reached through the host's NIC. */
  readonly dial: Endpoint;
}

interface Request {
  readonly number: number;
  readonly flow: Buffer;
  readonly message: Buffer;
}

export class ForwarderUplink implements Uplink {
  readonly #settings: ForwarderUplinkSettings;
  readonly #closing = new AbortController();
  #port: NicPort | undefined;
  /** Greeted and welcome. */
  #socket: Socket | undefined;
  #isConnecting = false;
  /** The last round that was announced; 0: it does not run here. */
  #round = 0;
  /** Requests that the guest could not have yet. */
  #kept: Request[] = [];
  /** The last request that the guest has, wherever it got it, and which forwarder's numbers these are. */
  #taken = 0;
  #instance: Buffer = Buffer.alloc(0);
  /** The last request that came on this connection and is in the guest, and the last of which it was told. */
  #arrived = 0;
  #arrivedSaid = 0;

  constructor(settings: ForwarderUplinkSettings) {
    this.#settings = settings;
  }

  async start(port: NicPort): Promise<void> {
    this.#port = port;
    rehearseFrames();
    await this.#connect();
  }

  announce(round: number): void {
    if (this.#round === 0) this.#recall();
    this.#round = round;
    if (this.#socket === undefined) this.#reconnect();
    else this.#say({ kind: 'announce', epoch: BigInt(this.#settings.epoch), round });
  }

  withdraw(): void {
    this.#round = 0;
    this.#say({ kind: 'withdraw' });
    // The forwarder sends them to the host that announces the guest next.
    this.#kept = [];
  }

  get canSend(): boolean {
    return this.#socket?.writable === true && this.#socket.writableLength < LIMITS.unsentBytes;
  }

  send(flow: Flow, message: Uint8Array): void {
    this.#say({ kind: 'response', flow: Buffer.from(flow), message: Buffer.from(message) });
  }

  room(): void {
    const kept = this.#kept;
    const refused = kept.findIndex((request) => !this.#offer(request));
    this.#kept = refused === -1 ? [] : kept.slice(refused);
    this.#sayTaken();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    const socket = this.#socket;
    if (socket === undefined || socket.destroyed) return;
    // A guest that was not withdrawn has ended here.
    if (this.#round > 0) this.#say({ kind: 'end' });
    this.#round = 0;
    this.#socket = undefined;
    // It stays open until the forwarder has read all: a reset would overtake answers. Nobody waits for that.
    const timer = setTimeout(() => socket.destroy(), LIMITS.lingerMs);
    socket.once('close', () => clearTimeout(timer));
    await new Promise((resolve) => {
      socket.once('finish', resolve);
      socket.once('close', resolve);
      socket.end();
    });
  }

  get #where(): string {
    return `the forwarder of guest "${this.#settings.guest}" at ${this.#settings.network.forwarder}`;
  }

  #say(frame: HostFrame): void {
    if (this.#socket !== undefined) sendMessage(this.#socket, encodeFrame(frame));
  }

  /** Dials, says who we are, and waits for the welcome. @throws Error in words */
  async #connect(): Promise<void> {
    const { guest, network, dial } = this.#settings;
    const socket = connect({ host: dial.address, port: dial.port, noDelay: true, keepAlive: true });
    const abort = (): unknown => socket.destroy(new Error('the guest has ended'));
    this.#closing.signal.addEventListener('abort', abort, { once: true });
    if (this.#closing.signal.aborted) abort();
    const timer = setTimeout(
      () => socket.destroy(new Error(`no answer in ${DEADLINES_MS.dataConnect / 1000} s`)),
      DEADLINES_MS.dataConnect,
    );
    try {
      await new Promise<void>((resolve, reject) => {
        socket.on('error', (error) =>
          reject(new Error(`${this.#where}: ${error.message}`, { cause: error })),
        );
        socket.on('close', () => reject(new Error(`${this.#where} closed the connection`)));
        this.#read(socket, resolve);
        const hello = {
          kind: 'hello',
          version: FORWARDER_WIRE_VERSION,
          token: network.token,
          guest,
        } as const;
        socket.write(withLength(encodeFrame(hello)));
      });
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
      this.#closing.signal.removeEventListener('abort', abort);
    }
    if (socket.destroyed) throw new Error(`${this.#where}: the connection was lost at once`);
    this.#connected(socket);
  }

  #connected(socket: Socket): void {
    this.#socket = socket;
    this.#arrived = 0;
    this.#arrivedSaid = 0;
    socket.on('drain', () => this.#port?.ready());
    socket.once('close', () => {
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      // Not in the guest, so the forwarder sends them again.
      this.#kept = [];
      if (this.#round > 0) this.#reconnect();
    });
    if (this.#round > 0) this.announce(this.#round);
    this.#port?.trouble('');
    this.#port?.ready();
  }

  /** Until it has succeeded, the guest has left, or everything is over. */
  #reconnect(): void {
    if (this.#isConnecting) return;
    this.#isConnecting = true;
    const attempts = async (): Promise<void> => {
      for (let retryMs: number = LIMITS.retryMsMin; this.#round > 0 && !this.#closing.signal.aborted; ) {
        try {
          await this.#connect();
          break;
        } catch (error) {
          if (this.#closing.signal.aborted) break;
          this.#port?.trouble(`${errorText(error)}; trying again`);
        }
        await sleep(retryMs, undefined, { signal: this.#closing.signal }).catch(() => {});
        retryMs = Math.min(2 * retryMs, LIMITS.retryMsMax);
      }
      this.#isConnecting = false;
    };
    void attempts();
  }

  #read(socket: Socket, welcome: () => void): void {
    const splitter = new MessageSplitter(FORWARDER_FRAME_BYTES_MAX);
    socket.on('data', (chunk: Buffer) => {
      splitter.push(chunk);
      for (;;) {
        const bytes = splitter.next();
        if (bytes === SplitEnd.NEED_MORE) break;
        const frame = bytes === SplitEnd.MALFORMED ? undefined : decodeForwarderFrame(bytes);
        const problem = frame === undefined ? 'sent what is no frame' : this.#handle(frame, welcome);
        if (problem === undefined) continue;
        socket.destroy(new Error(problem));
        break;
      }
      this.#sayTaken();
    });
  }

  /** @returns what is wrong with the frame, or undefined */
  #handle(frame: ForwarderFrame, welcome: () => void): string | undefined {
    switch (frame.kind) {
      case 'welcome':
        welcome();
        return undefined;
      case 'refused':
        return `it refused: ${frame.reason}`;
      case 'request':
        return this.#request(frame.flow, frame.message);
    }
  }

  #request(flow: Buffer, message: Buffer): string | undefined {
    const number = flowNumber(flow);
    if (number === undefined || number === 0) return 'sent a request without a number';
    if (!flowInstance(flow).equals(this.#instance)) {
      this.#instance = Buffer.from(flowInstance(flow));
      this.#taken = 0;
      this.#kept = [];
    }
    // A request that came in the last moment before the withdrawal reached it is sent again to the next host.
    if (this.#round === 0) return undefined;
    const request = { number, flow, message };
    if (this.#kept.length >= FORWARDER_WINDOW) return `sent more than ${FORWARDER_WINDOW} requests at once`;
    if (this.#kept.length > 0 || !this.#offer(request)) this.#kept.push(request);
    return undefined;
  }

  /** What the guest took where it was before; the forwarder may not have heard of all of it. */
  #recall(): void {
    if (this.#port === undefined) return;
    const flow = Buffer.from(this.#port.lastFlow());
    this.#taken = flowNumber(flow) ?? 0;
    this.#instance = flowInstance(flow);
  }

  /**
   * Puts a request into the guest unless it is there already: a connection may have broken before TAKEN was heard,
   * or the guest's source may have said it later than this host announced the guest.
   */
  #offer({ number, flow, message }: Request): boolean {
    if (number > this.#taken) {
      if (this.#port?.offer(flow, message) !== true) return false;
      this.#taken = number;
    }
    this.#arrived = number;
    return true;
  }

  #sayTaken(): void {
    if (this.#socket === undefined || this.#arrived === this.#arrivedSaid) return;
    this.#arrivedSaid = this.#arrived;
    this.#say({ kind: 'taken', number: this.#arrived });
  }
}
