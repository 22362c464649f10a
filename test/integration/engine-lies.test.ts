/**
 * Goal: whoever speaks on the data port, and whatever it says, can at most end a migration before its commit
 * point: the connection is refused and counted, and the guest runs on where it was. Method: real movers
 * against a peer that lies.
 */

import { connect, createServer, type Server } from 'node:net';
import { deflateRawSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { bootId } from '../../hosts/clock.ts';
import { HANDOVER } from '../../hosts/guest/control-layout.ts';
import { Guest } from '../../hosts/guest/guest.ts';
import { HostContents } from '../../hosts/host-contents.ts';
import { IncomingMigration } from '../../hosts/migration/incoming.ts';
import { MOVER_LIMITS } from '../../hosts/migration/limits.ts';
import { OutgoingMigration } from '../../hosts/migration/outgoing.ts';
import { type PageRun, RunKind, WireCodec } from '../../hosts/migration/wire.ts';
import { SentContents } from '../../hosts/transform/sent-contents.ts';
import type { SourceOutcome } from '../../proto/generated/godwit/v1/host.ts';
import { DedupScope, MigrationPhase, type Transforms } from '../../proto/generated/godwit/v1/migration.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { comparesGuests, DEFAULT_TRANSFORMS } from '../../proto/transforms.ts';
import { guestSpec, MIGRATION, optionsOf, THREADS, TICKET, until } from './engine-pair.ts';
import { testTicket, WirePeer } from './wire-peer.ts';

const { MIGRATION_PHASE_COMPLETED, MIGRATION_PHASE_FAILED } = MigrationPhase;
const PAGE_COUNT = 256;
const spec = guestSpec('uniform', 2000, 1, 1);
const OVERSIZED = 0x7fffffff;
/** All that a liar may abuse. */
const transforms = {
  ...DEFAULT_TRANSFORMS,
  dedup: DedupScope.DEDUP_SCOPE_GANG,
  deltaCacheBytes: BigInt(PAGE_COUNT * PAGE_BYTES),
};

describe('the source', () => {
  let guest: Guest;
  let outgoing: OutgoingMigration;
  let outcome: Promise<SourceOutcome>;
  let port: number;
  /** What happened on the way to the pause. */
  const order: string[] = [];
  const peers: WirePeer[] = [];

  beforeAll(async () => {
    guest = await Guest.create(spec);
  });

  afterEach(async () => {
    for (const { socket } of peers.splice(0)) socket.destroy();
    outgoing.cancel('the test is over');
    await outcome;
  });

  afterAll(async () => {
    await guest.destroy();
  });

  async function listen(): Promise<void> {
    const listening = Promise.withResolvers<number>();
    const settings = {
      migration: MIGRATION,
      threads: THREADS,
      guest,
      options: optionsOf('pre-copy', { transforms }),
      gang: SentContents.allocate(1),
      ticket: TICKET,
    };
    outgoing = new OutgoingMigration(
      { ...settings, listenAddress: '127.0.0.1' },
      {
        listening: listening.resolve,
        progress: () => order.push('progress'),
        beginHandover: async () => void order.push('handover'),
        serving: () => {},
        commitUnanswered: () => Promise.reject(new Error('it was never committed')),
        free: () => Promise.reject(new Error('it was never handed over')),
      },
    );
    outcome = outgoing.run();
    port = await listening.promise;
  }

  function dial(ticket = TICKET): WirePeer {
    const peer = new WirePeer(connect(port, '127.0.0.1'), 'source', PAGE_COUNT, ticket);
    peers.push(peer);
    return peer;
  }

  async function expectRunning(): Promise<void> {
    const { operations } = guest.series.counts();
    await until(() => guest.series.counts().operations > operations);
    expect(guest.running).toBe(true);
    expect((await guest.audit()).faults).toEqual([]);
  }

  test.each<[string, (peer: WirePeer) => void | Promise<void>]>([
    ['garbage', (peer) => void peer.socket.write(Buffer.alloc(64, 'GET / HTTP/1.1'))],
    ['START twice', (peer) => peer.say('START', {})],
    [
      'STANDBY twice',
      (peer) => {
        peer.say('STANDBY', {});
        peer.say('STANDBY', {});
      },
    ],
    ['READY before the devices’ state', (peer) => peer.say('READY', { installedAtMs: 1 })],
    [
      'ARRIVED of more than was sent',
      (peer) => peer.say('ARRIVED', { bytes: 0, receivedBytes: 1e12, receivedAtMs: 1, saidAtMs: 1 }),
    ],
    ['RESUMED before COMMIT', (peer) => peer.say('RESUMED', { resumedAtMs: 1 })],
    ['LEDGER_DONE before the ledger', (peer) => peer.say('LEDGER_DONE', {})],
    ['HELLO on a channel that has one', (peer) => peer.sayHello()],
    ['WANTED of a page that did not go as a digest', (peer) => peer.say('WANTED', { pages: [3] })],
    ['OFFER, which nobody asked for', (peer) => peer.say('OFFER', { hashes: Buffer.alloc(8) })],
    ['COMMIT, which is the source’s', (peer) => peer.say('COMMIT', {})],
    ['pages', (peer) => peer.sayPages({ firstPage: 0, pageCount: 1, kind: RunKind.DATA })],
    ['a table of 2 GiB', (peer) => peer.sayForged('ALIVE', {}, 'tableBytes', OVERSIZED)],
    ['a payload of 2 GiB', (peer) => peer.sayForged('ALIVE', {}, 'payloadBytes', OVERSIZED)],
    [
      'a frame out of order',
      (peer) => {
        peer.sequence += 1;
        peer.say('ALIVE', {});
      },
    ],
    [
      'ROUND_DONE of a round that was not sent',
      async (peer) => {
        const { body } = await peer.hear('ROUND_END');
        peer.say('ROUND_DONE', { round: body.round + 1 });
      },
    ],
    [
      'ROUND_DONE twice',
      async (peer) => {
        const { body } = await peer.hear('ROUND_END');
        peer.say('ROUND_DONE', body);
        peer.say('ROUND_DONE', body);
        peer.say('ROUND_DONE', body);
      },
    ],
  ])('keeps its guest from a destination that says %s', async (_, lie) => {
    await listen();
    const peer = dial();
    await peer.greet();
    peer.say('START', {});
    await lie(peer);
    const { phase, reason } = await outcome;
    expect(phase).toBe(MIGRATION_PHASE_FAILED);
    expect(reason).not.toBe('');
    expect(outgoing.refused).toBe(1);
    await peer.closed;
    await expectRunning();
  });

  test('does not pause its guest before the destination’s vCPUs stand by', async () => {
    await listen();
    const peer = dial();
    await peer.greet();
    peer.say('START', {});
    const { body } = await peer.hear('ROUND_END');
    peer.say('ROUND_DONE', body);
    // Long enough for a source that does not wait.
    order.length = 0;
    await until(() => order.length > 4);
    order.push('standby');
    peer.say('STANDBY', {});
    await peer.hear('DEVICE_STATE');
    expect(order.filter((what) => what !== 'progress')).toEqual(['standby', 'handover']);
  });

  test('keeps its guest from a destination that leaves in the middle of a frame', async () => {
    await listen();
    const peer = dial();
    await peer.greet();
    peer.socket.end(Buffer.from('GDWT'));
    expect((await outcome).phase).toBe(MIGRATION_PHASE_FAILED);
    await expectRunning();
  });

  test('refuses and counts strangers, while the migration goes on', async () => {
    await listen();
    const silent = dial();
    const guess = testTicket(MIGRATION, { secret: Buffer.alloc(32, 'a guess') });
    const strangers = [dial(), dial(guess), dial(), dial(), dial()] as const;
    strangers[0].socket.write(Buffer.alloc(5000, 0xff));
    strangers[1].sayHello();
    strangers[2].sayHello({ channel: 1 });
    strangers[3].sayHello({ pageCount: 3 });
    strangers[4].say('ALIVE', {});
    for (const { closed } of strangers) await closed;
    expect(outgoing.refused).toBe(5);
    const peer = dial();
    await peer.greet();
    const second = dial();
    second.sayHello();
    await second.closed;
    expect(outgoing.refused).toBe(6);
    peer.say('START', {});
    // Pages arrive although one stranger still stands at the door.
    await peer.hear('ROUND_END');
    expect(silent.socket.destroyed).toBe(false);
    expect(guest.running).toBe(true);
  });

  test('lets no crowd of silent connections keep its destination out', async () => {
    await listen();
    const tooMany = 12;
    const crowd = Array.from({ length: MOVER_LIMITS.pendingConnectionsMax + tooMany }, () => dial());
    await Promise.all(crowd.map(({ socket }) => new Promise((resolve) => socket.once('connect', resolve))));
    const peer = dial();
    await peer.greet();
    expect(outgoing.refused).toBeGreaterThanOrEqual(tooMany);
  });
});

describe('the destination', () => {
  /** Stands for a new one in every test but those that run it. */
  let guest: Guest;
  let server: Server | undefined;
  let incoming: IncomingMigration;
  const contents = new HostContents(PAGE_COUNT * PAGE_BYTES);
  const abandoned: string[] = [];
  const asked: string[] = [];
  let isConnected: Promise<void>;

  beforeAll(async () => {
    guest = await Guest.incoming(spec);
    guest.control.leaseUntilMs = Number.POSITIVE_INFINITY;
  });

  afterEach(async () => {
    incoming.decide('source');
    server?.close();
    await incoming.finished();
    abandoned.length = 0;
    asked.length = 0;
  });

  afterAll(async () => {
    await guest.destroy();
  });

  /** A source that a test plays, to which the destination has said HELLO. */
  async function accept(used: Transforms): Promise<WirePeer> {
    guest.control.tryHandover(HANDOVER.ABANDONED, HANDOVER.NONE);
    const accepted = Promise.withResolvers<WirePeer>();
    const listener = createServer((socket) =>
      accepted.resolve(new WirePeer(socket, 'destination', PAGE_COUNT, TICKET)),
    );
    server = listener;
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    const { port } = listener.address() as { port: number };
    const settings = {
      migration: MIGRATION,
      threads: THREADS,
      guest,
      options: optionsOf('pre-copy', { transforms: used }),
      ...(comparesGuests(used) && { contents }),
      ticket: TICKET,
    };
    incoming = new IncomingMigration(
      { ...settings, source: 'host-1', sourceAddress: '127.0.0.1', sourcePort: port, sourceBootId: bootId() },
      {
        resumed: () => {},
        commitMissing: async () => {
          asked.push('destination');
          return 'source';
        },
        abandoned: (reason) => abandoned.push(reason),
      },
    );
    isConnected = incoming.connect();
    isConnected.catch(() => {});
    const peer = await accepted.promise;
    return peer;
  }

  async function start(used: Transforms = transforms): Promise<WirePeer> {
    const peer = await accept(used);
    await peer.sayWelcome();
    await peer.hear('START');
    await isConnected;
    return peer;
  }

  /** A page that was not compressed, with any body. */
  function sayCoded(peer: WirePeer, run: PageRun, body: Buffer): void {
    peer.sayCoded({ runs: [run], codec: WireCodec.NONE, decodedBytes: body.byteLength }, body);
  }

  /** The devices' state of this guest, as a source would send it. */
  function sayDeviceState(peer: WirePeer, vcpuStateBytes = [3], bytes = 5003): void {
    peer.say('DEVICE_STATE', { ledgerDigest: 'none', vcpuStateBytes }, Buffer.alloc(bytes));
  }

  const page = { firstPage: 3, pageCount: 1, kind: RunKind.DATA };
  /** Behind those that other lies fill. */
  const fresh = { firstPage: 200, pageCount: 1 };
  const copy = { ...fresh, kind: RunKind.COPY };
  const delta = { ...fresh, kind: RunKind.DELTA };
  const digest = { ...fresh, kind: RunKind.DIGEST };

  test.each<[string, (peer: WirePeer) => void]>([
    ['garbage', (peer) => void peer.socket.write(Buffer.alloc(10_000, 0xab))],
    [
      'WELCOME twice',
      (peer) => peer.say('WELCOME', { publicKey: Buffer.alloc(32), proof: Buffer.alloc(32) }),
    ],
    ['pages outside memory', (peer) => peer.sayPages({ ...page, firstPage: PAGE_COUNT })],
    [
      'a batch that becomes more than it announces',
      (peer) => {
        const bomb = deflateRawSync(Buffer.alloc(64 * 1024 * 1024));
        peer.sayCoded(
          { runs: [page], codec: WireCodec.DEFLATE, decodedBytes: PAGE_BYTES },
          bomb.subarray(0, 4000),
        );
      },
    ],
    ['a round that is not the next', (peer) => peer.say('ROUND_END', { round: 2 })],
    ['the devices’ state before any page', (peer) => sayDeviceState(peer)],
    ['COMMIT before READY', (peer) => peer.say('COMMIT', {})],
    [
      'the ledger before the guest runs',
      (peer) => peer.say('LEDGER', { vcpu: 0, firstPage: 0 }, Buffer.alloc(4)),
    ],
    ['the ledger’s end before the guest runs', (peer) => peer.say('LEDGER_END', {})],
    ['ROUND_DONE, which is the destination’s', (peer) => peer.say('ROUND_DONE', { round: 1 })],
    ['a table of 2 GiB', (peer) => peer.sayForged('COMMIT', {}, 'tableBytes', OVERSIZED)],
    ['a payload of 2 GiB', (peer) => peer.sayForged('COMMIT', {}, 'payloadBytes', OVERSIZED)],
    [
      'devices of 64 MiB to a guest that has none such',
      (peer) => {
        peer.say('ROUND_END', { round: 1 });
        const body = { ledgerDigest: '', vcpuStateBytes: [3] };
        peer.sayForged('DEVICE_STATE', body, 'payloadBytes', 64 * 1024 * 1024);
      },
    ],
    [
      'the state of another number of vCPUs',
      (peer) => {
        peer.say('ROUND_END', { round: 1 });
        sayDeviceState(peer, [1, 2]);
      },
    ],
    [
      'pages after the final round',
      (peer) => {
        peer.sayPages(page);
        peer.say('ROUND_END', { round: 1 });
        peer.sayPages(page);
        sayDeviceState(peer);
      },
    ],
    ['a copy of a page that has not come', (peer) => sayCoded(peer, copy, Buffer.of(100, 0, 0, 0))],
    ['a copy of a page of nobody’s', (peer) => sayCoded(peer, copy, Buffer.of(0, 0, 0, 0xff))],
    ['a delta of a page that has not come', (peer) => sayCoded(peer, delta, Buffer.of(3, 0, 1, 1, 9))],
    [
      'a delta that leaves its page',
      (peer) => {
        peer.sayPages({ ...fresh, kind: RunKind.DATA });
        sayCoded(peer, delta, Buffer.of(5, 0, 0xff, 0x1f, 2, 1, 1));
      },
    ],
    ['half a digest', (peer) => sayCoded(peer, digest, Buffer.alloc(12))],
    [
      'a digest that nobody here has, and then the pause',
      (peer) => {
        sayCoded(peer, digest, Buffer.alloc(24, 7));
        peer.say('ROUND_END', { round: 1 });
        sayDeviceState(peer, [0], 5000);
      },
    ],
    [
      'the same frame twice',
      (peer) => {
        peer.sayPages(page);
        peer.sequence--;
        peer.sayPages(page);
      },
    ],
  ])('abandons a guest from a source that says %s', async (_, lie) => {
    const peer = await start();
    lie(peer);
    await peer.closed;
    const { phase, reason, report } = await incoming.finished();
    expect(phase).toBe(MIGRATION_PHASE_FAILED);
    expect(reason).not.toBe('');
    expect(report.refused).toBe(1n);
    expect(abandoned).toEqual([reason]);
    expect(asked).toEqual([]);
    expect(guest.running).toBe(false);
  });

  test.each([
    ['a copy', copy, 4],
    ['a delta', delta, 2],
    ['a digest', digest, 24],
  ])('abandons a guest from a source that sends %s though nobody asked for such', async (_, run, bytes) => {
    const peer = await start(DEFAULT_TRANSFORMS);
    sayCoded(peer, run, Buffer.alloc(bytes));
    await peer.closed;
    const { reason } = await incoming.finished();
    expect(reason).toContain('which nobody asked for');
    expect(incoming.refused).toBe(1);
  });

  test('wants a page whose digest nobody here has, and is ready when it has come', async () => {
    const peer = await start();
    sayCoded(peer, digest, Buffer.alloc(24, 7));
    peer.say('ROUND_END', { round: 1 });
    expect((await peer.hear('WANTED')).body).toEqual({ pages: [fresh.firstPage] });
    expect((await peer.hear('ROUND_DONE')).body).toEqual({ round: 1 });
    peer.sayPages({ ...fresh, kind: RunKind.DATA });
    peer.say('ROUND_END', { round: 2 });
    sayDeviceState(peer, [0], 5000);
    await peer.hear('READY');
    expect(new Uint8Array(guest.shared.memory, fresh.firstPage * PAGE_BYTES)[0]).toBe(1);
  });

  test('does not come up with a source that sends pages before WELCOME', async () => {
    const peer = await accept(transforms);
    peer.sayPages(page);
    await expect(isConnected).rejects.toThrow('PAGES came before WELCOME');
    expect(incoming.refused).toBe(1);
    expect(abandoned).toEqual([]);
  });

  test('takes no page once it has said READY', async () => {
    const peer = await start();
    peer.sayPages(page);
    peer.say('ROUND_END', { round: 1 });
    sayDeviceState(peer);
    await peer.hear('READY');
    const before = Buffer.from(guest.shared.memory).subarray(0, 8192).toString('hex');
    peer.sayPages({ firstPage: 0, pageCount: 2, kind: RunKind.DATA });
    const { phase, report } = await incoming.finished();
    expect(phase).toBe(MIGRATION_PHASE_FAILED);
    expect(report.refused).toBe(1n);
    // What it was ready for may have been committed: only the witness can tell.
    expect(asked).toEqual(['destination']);
    expect(Buffer.from(guest.shared.memory).subarray(0, 8192).toString('hex')).toBe(before);
  });

  test('refuses a ledger that does not have the digest of the pause, and says so', async () => {
    const peer = await start();
    peer.say('ROUND_END', { round: 1 });
    sayDeviceState(peer, [0], 5000);
    await peer.hear('READY');
    peer.say('COMMIT', {});
    await peer.hear('RESUMED');
    peer.say('LEDGER', { vcpu: 0, firstPage: 0 }, Buffer.alloc(PAGE_COUNT * 4, 1));
    peer.say('LEDGER_END', {});
    const { phase, reason, report } = await incoming.finished();
    expect(phase).toBe(MIGRATION_PHASE_COMPLETED);
    expect(reason).toContain('digest');
    expect(report.refused).toBe(1n);
    const { faults, evidence } = await guest.audit();
    expect(evidence).toBe('digest');
    expect(faults[0]).toMatchObject({ kind: 'digest' });
  });
});
