/**
 * Goal: whatever is said on a host process's data connections, the host lives, counts it, gives back the memory that it
 * had reserved, and the guest runs on. Method: real hosts; the test plays the coordinator and the other side, and lies.
 * Every lie that there is is told to the movers in test/integration/engine-lies.test.ts; here the process around them
 * is what is tested.
 */

import { connect, createServer, type Server } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { bootId } from '../../hosts/clock.ts';
import { RunKind } from '../../hosts/migration/wire.ts';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { RpcError } from '../../proto/errors.ts';
import type { SourceOutcome, Ticket } from '../../proto/generated/godwit/v1/host.ts';
import { MigrationPhase } from '../../proto/generated/godwit/v1/migration.ts';
import { defaultMigrationOptions } from '../../proto/migration-options.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { callStream, callUnary } from '../../proto/rpc.ts';
import { testTicket, WirePeer } from '../integration/wire-peer.ts';
import { endAllProcesses, waitFor } from '../support/processes.ts';
import { guestSpec, LONG_LEASE_MS, Testbed } from '../support/testbed.ts';

const OVERSIZED = 0x7fffffff;
// One connection, whose other end each test plays.
const options = { ...defaultMigrationOptions('pre-copy'), postcopyPreempt: false };
const settings = { what: 'playing the coordinator', deadlineMs: DEADLINES_MS.guestWork };
const pageCountOf = (memoryBytes: bigint): number => Number(memoryBytes) / PAGE_BYTES;

type Lie = readonly [name: string, tell: (peer: WirePeer) => void];

let testbed: Testbed;
let nextMigration = 1;

beforeAll(async () => {
  testbed = await Testbed.start(['host-1', 'host-2'], LONG_LEASE_MS);
});

afterAll(async () => {
  await testbed.close();
  await endAllProcesses();
});

async function hostStats(host: string) {
  return (await callUnary(testbed.host(host), 'getHostStats', {}, settings)).stats!;
}

describe('a source', () => {
  const spec = guestSpec('told-lies');
  const pageCount = pageCountOf(spec.memoryBytes);

  beforeAll(async () => {
    await testbed.createGuest(spec, 'host-1');
  });

  /** Starts the source's part; answers where it listens, and its outcome to come. */
  async function listening(
    migration: string,
  ): Promise<{ port: number; outcome: Promise<SourceOutcome>; ticket: Ticket }> {
    const { epoch } = await testbed.guest(spec.name);
    const ticket = testTicket(migration, { guest: spec.name, epoch });
    const request = { migration, guest: spec.name, epoch, destination: 'host-2', options, ticket };
    const port = Promise.withResolvers<number>();
    const follow = async (): Promise<SourceOutcome> => {
      for await (const { event } of callStream(testbed.host('host-1'), 'startMigration', request, settings)) {
        if (event?.$case === 'listening') port.resolve(event.value.port);
        if (event?.$case === 'outcome') return event.value;
      }
      throw new Error('no outcome');
    };
    const outcome = follow();
    outcome.catch(port.reject);
    return { port: await port.promise, outcome, ticket };
  }

  const lies: readonly Lie[] = [
    ['garbage', ({ socket }) => socket.write(Buffer.alloc(4096, 'GET / HTTP/1.1\r\n'))],
    ['a truncated frame', ({ socket }) => socket.end(Buffer.from('GDWT'))],
    ['an oversized table', (peer) => peer.sayForged('START', {}, 'tableBytes', OVERSIZED)],
    ['an oversized payload', (peer) => peer.sayForged('START', {}, 'payloadBytes', OVERSIZED)],
    ['a frame out of order', (peer) => peer.sayForged('START', {}, 'sequence', 77)],
  ];

  it.each(lies)('that hears %s from its destination keeps the guest, and counts it', async (_name, tell) => {
    const migration = `lie-${nextMigration++}`;
    const { port, outcome, ticket } = await listening(migration);
    const before = await hostStats('host-1');
    const peer = new WirePeer(connect(port, '127.0.0.1'), 'source', pageCount, ticket);
    await peer.greet();
    tell(peer);
    const { phase } = await outcome;
    expect(phase).toBe(MigrationPhase.MIGRATION_PHASE_FAILED);
    await peer.closed;
    const after = await hostStats('host-1');
    if (_name !== 'a truncated frame') expect(after.refused).toBeGreaterThan(before.refused);
    await expectGuestRuns();
  });

  it('refuses strangers, and goes on waiting for its destination', async () => {
    const migration = `lie-${nextMigration++}`;
    const { port, outcome, ticket } = await listening(migration);
    const strangers = [
      (peer: WirePeer) => peer.sayHello({ pageCount: 1 }),
      (peer: WirePeer) => peer.say('START', {}),
      ({ socket }: WirePeer) => socket.write(Buffer.alloc(100_000, 1)),
    ];
    for (const speak of strangers) {
      const peer = new WirePeer(connect(port, '127.0.0.1'), 'source', pageCount, ticket);
      speak(peer);
      await peer.closed;
    }
    const peer = new WirePeer(connect(port, '127.0.0.1'), 'source', pageCount, ticket);
    await peer.greet();
    const cancel = { migration, reason: 'the test has seen enough' };
    await callUnary(testbed.host('host-1'), 'cancelMigration', cancel, settings);
    expect((await outcome).phase).toBe(MigrationPhase.MIGRATION_PHASE_CANCELLED);
    await expectGuestRuns();
  });

  it('takes part by no ticket that is not good for this, and says why without its secret', async () => {
    const { epoch } = await testbed.guest(spec.name);
    const migration = `lie-${nextMigration++}`;
    const good = testTicket(migration, { guest: spec.name, epoch });
    const { secret } = good;
    const foreign = { ...good, guest: 'another' };
    const expired = { ...good, expiresAtMs: Date.now() - 1 };
    for (const [ticket, why] of [
      [undefined, /no ticket/],
      [foreign, /foreign/],
      [expired, /expired/],
    ] as const) {
      const request = { migration, guest: spec.name, epoch, destination: 'host-2', options, ticket };
      const move = async (): Promise<void> => {
        for await (const _ of callStream(testbed.host('host-1'), 'startMigration', request, settings));
      };
      const refusal: unknown = await move().catch((error: unknown) => error);
      expect(refusal).toBeInstanceOf(RpcError);
      expect((refusal as RpcError).code).toBe('FAILED_PRECONDITION');
      expect(String(refusal)).toMatch(why);
      expect(String(refusal)).not.toContain(secret.toString('hex'));
    }
    for (const host of ['host-1', 'host-2']) {
      for (const form of ['hex', 'base64', 'latin1'] as const) {
        expect(testbed.printed(host)).not.toContain(secret.toString(form));
      }
    }
    await expectGuestRuns();
  });

  async function expectGuestRuns(): Promise<void> {
    const before = (await testbed.operations('host-1', spec.name))!;
    await waitFor(
      async () => (await testbed.operations('host-1', spec.name))! > before,
      'the guest to go on at its source',
    );
    await waitFor(async () => (await testbed.guest(spec.name)).migration === '', 'the migration to be over');
    expect((await testbed.audit(spec.name)).faults).toEqual([]);
  }
});

describe('a destination', () => {
  const spec = guestSpec('a-lie');
  const pageCount = pageCountOf(spec.memoryBytes);
  let server: Server;
  let peers: WirePeer[] = [];

  afterEach(() => {
    for (const { socket } of peers) socket.destroy();
    peers = [];
    server.close();
  });

  /** Plays a source: answers the peer of the destination's connection. */
  async function playSource(
    migration: string,
  ): Promise<{ peer: Promise<WirePeer>; prepared: Promise<unknown> }> {
    const peer = Promise.withResolvers<WirePeer>();
    const ticket = testTicket(migration, { guest: spec.name, epoch: 1n });
    server = createServer((socket) => {
      const made = new WirePeer(socket, 'destination', pageCount, ticket);
      peers.push(made);
      peer.resolve(made);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const request = {
      ...{ migration, spec, epoch: 1n, source: 'host-1', options, ticket },
      listening: { address: '127.0.0.1', port, bootId: bootId() },
    };
    const prepared = callUnary(testbed.host('host-2'), 'prepareIncoming', request, settings);
    prepared.catch(() => {});
    return { peer: peer.promise, prepared };
  }

  const page = (firstPage: number, pageCountInRun: number) => ({
    firstPage,
    pageCount: pageCountInRun,
    kind: RunKind.DATA,
  });
  const lies: readonly Lie[] = [
    ['garbage', ({ socket }) => socket.write(Buffer.alloc(4096, 7))],
    [
      'a truncated page',
      (peer) => {
        peer.write(peer.pagesHead(page(0, 1)), Buffer.alloc(9));
        peer.socket.end();
      },
    ],
    ['an oversized table', (peer) => peer.sayForged('ROUND_END', { round: 1 }, 'tableBytes', OVERSIZED)],
    ['an oversized payload', (peer) => peer.sayForged('ROUND_END', { round: 1 }, 'payloadBytes', OVERSIZED)],
    ['a frame out of order', (peer) => peer.sayForged('ROUND_END', { round: 1 }, 'sequence', 9)],
    ['a page outside of memory', (peer) => peer.sayPages(page(pageCount, 1))],
    ['COMMIT before anything', (peer) => peer.say('COMMIT', {})],
  ];

  it.each(lies)('that hears %s discards what has come, and has its room back', async (_name, tell) => {
    const migration = `lie-${nextMigration++}`;
    const before = await hostStats('host-2');
    const { peer: accepted, prepared } = await playSource(migration);
    const peer = await accepted;
    await peer.sayWelcome();
    await prepared;
    tell(peer);
    const { phase } = await callUnary(testbed.host('host-2'), 'getIncoming', { migration }, settings);
    expect(phase).toBe(MigrationPhase.MIGRATION_PHASE_FAILED);
    await waitFor(async () => (await hostStats('host-2')).guestCount === 0, 'the guest to be discarded');
    const after = await hostStats('host-2');
    expect(after.guestMemoryBytes).toBe(0n);
    if (_name !== 'a truncated page') expect(after.refused).toBeGreaterThan(before.refused);
  });

  it('that is welcomed with garbage refuses the migration', async () => {
    const { peer, prepared } = await playSource(`lie-${nextMigration++}`);
    (await peer).socket.write(Buffer.alloc(4096, 7));
    await expect(prepared).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect((await hostStats('host-2')).guestCount).toBe(0);
  });
});
