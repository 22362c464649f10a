/**
 * Goal: with a priority channel faults are asked for there, what comes there is placed at once, and nothing else may
 * come there. Method: real movers against a peer that a test plays, with two connections.
 */

import { connect, createServer, type Server } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { bootId } from '../../hosts/clock.ts';
import { Guest } from '../../hosts/guest/guest.ts';
import { IncomingMigration } from '../../hosts/migration/incoming.ts';
import { OutgoingMigration } from '../../hosts/migration/outgoing.ts';
import { RunKind } from '../../hosts/migration/wire.ts';
import { PostcopyPush } from '../../proto/generated/godwit/v1/migration.ts';
import { guestSpec, MIGRATION, optionsOf, THREADS, TICKET, until } from './engine-pair.ts';
import { WirePeer } from './wire-peer.ts';

const PAGE_COUNT = 256;
const PAGE_ZERO = { firstPage: 0, pageCount: 1, kind: RunKind.DATA };

interface Peers {
  readonly main: WirePeer;
  readonly priority: WirePeer;
}

let guest: Guest | undefined;
let server: Server | undefined;
const peers: WirePeer[] = [];

afterEach(async () => {
  for (const { socket } of peers.splice(0)) socket.destroy();
  server?.close();
  await guest?.destroy();
});

describe('the destination', () => {
  let incoming: IncomingMigration;

  /** A source that a test plays: all that the guest, which writes the first page only, needs is there, but no page. */
  async function ready(): Promise<Peers & { readonly arriving: Guest }> {
    const uniform = guestSpec('uniform', 0, 1, 1);
    const spec = { ...uniform, workload: { ...uniform.workload!, workingSetBytes: 4096n } };
    const arriving = await Guest.incoming(spec);
    guest = arriving;
    arriving.control.leaseUntilMs = Number.POSITIVE_INFINITY;
    const greeted = [Promise.withResolvers<WirePeer>(), Promise.withResolvers<WirePeer>()] as const;
    const listener = createServer((socket) => {
      const peer = new WirePeer(socket, 'destination', PAGE_COUNT, TICKET);
      peers.push(peer);
      void peer.sayWelcome().then((channel) => greeted[channel as 0 | 1].resolve(peer));
    });
    server = listener;
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    const { port: sourcePort } = listener.address() as { port: number };
    const options = optionsOf('post-copy', { recoveryLimitMs: 0 });
    const settings = { migration: MIGRATION, threads: THREADS, guest: arriving, options, ticket: TICKET };
    incoming = new IncomingMigration(
      { ...settings, source: 'host-1', sourceAddress: '127.0.0.1', sourcePort, sourceBootId: bootId() },
      { resumed: () => {}, commitMissing: async () => 'source', abandoned: () => {} },
    );
    await incoming.connect();
    const [main, priority] = await Promise.all(greeted.map(({ promise }) => promise));
    await main!.hear('STANDBY');
    main!.say('ROUND_END', { round: 1 });
    main!.say('MISSING', { pages: PAGE_COUNT });
    main!.say('DEVICE_STATE', { ledgerDigest: 'none', vcpuStateBytes: [0] }, Buffer.alloc(5000));
    await main!.hear('READY');
    return { main: main!, priority: priority!, arriving };
  }

  test('asks there, gives what comes there to who waits, and refuses it when it comes again', async () => {
    const { main, priority, arriving } = await ready();
    main.say('COMMIT', {});
    expect((await priority.hear('REQUEST')).body).toEqual({ pages: [0] });
    priority.sayPages(PAGE_ZERO);
    await until(() => arriving.series.counts().operations > 10_000);
    expect(arriving.control.missingPages).toBe(PAGE_COUNT - 1);
    server?.close();
    priority.sayPages(PAGE_ZERO);
    await Promise.all([main.closed, priority.closed]);
    const { reason, report } = await incoming.finished();
    expect(reason).toContain('255 pages were lost with host-1: page 0 came though it is here');
    expect(report).toMatchObject({ refused: 1n, postcopy: { requests: 1n, placedPages: 1n } });
  });

  test.each<[string, (priority: WirePeer) => void]>([
    ['page before the guest runs', (priority) => priority.sayPages(PAGE_ZERO)],
    ['COMMIT', (priority) => priority.say('COMMIT', {})],
  ])('takes no %s there', async (_, lie) => {
    const { main, priority, arriving } = await ready();
    lie(priority);
    await Promise.all([main.closed, priority.closed]);
    const { reason, report } = await incoming.finished();
    expect(reason).toContain('the witness gave the guest to the source');
    expect(report.refused).toBe(1n);
    expect(arriving.running).toBe(false);
  });
});

describe('the source', () => {
  test('sends a page once that is demanded again before it has heard what the destination lacks', async () => {
    const leaving = await Guest.create(guestSpec('idle', 0, 1, 1));
    guest = leaving;
    const options = optionsOf('post-copy', { push: PostcopyPush.POSTCOPY_PUSH_NONE });
    const listening = Promise.withResolvers<number>();
    const outgoing = new OutgoingMigration(
      {
        migration: MIGRATION,
        threads: THREADS,
        guest: leaving,
        options,
        ticket: TICKET,
        listenAddress: '127.0.0.1',
      },
      {
        listening: (port) => listening.resolve(port),
        progress: () => {},
        beginHandover: async () => {},
        commitUnanswered: async () => 'destination',
        serving: () => {},
        free: async () => 1,
      },
    );
    const outcome = outgoing.run();
    const port = await listening.promise;
    const dial = (): WirePeer[] =>
      [0, 1].map((channel) => {
        const peer = new WirePeer(connect(port, '127.0.0.1'), 'source', PAGE_COUNT, TICKET);
        peers.push(peer);
        peer.sayHello({ channel });
        return peer;
      });
    const [main, priority] = dial();
    await Promise.all([main!.hear('WELCOME'), priority!.hear('WELCOME')]);
    main!.say('START', {});
    main!.say('STANDBY', {});
    await main!.hear('DEVICE_STATE');
    main!.say('READY', { installedAtMs: 1 });
    await main!.hear('COMMIT');
    main!.say('RESUMED', { resumedAtMs: 1 });
    priority!.say('REQUEST', { pages: [0] });
    await priority!.hear('PAGES');
    for (const peer of [main!, priority!]) peer.socket.destroy();
    const [again, other] = dial();
    await Promise.all([again!.hear('WELCOME'), other!.hear('WELCOME')]);
    other!.say('REQUEST', { pages: [0] });
    again!.say('LACKING', { firstPage: 0, bitmap: new Uint8Array(32).fill(255) });
    await other!.hear('PAGES');
    other!.say('REQUEST', { pages: [0] });
    other!.say('REQUEST', { pages: [1] });
    expect(await other!.hear('PAGES')).toMatchObject({ runs: [{ firstPage: 1, pageCount: 1 }] });
    again!.say('FAILURE', { reason: 'that will do' });
    const { report } = await outcome;
    expect(report?.postcopy).toMatchObject({ demandedPages: 3n, prefetchHits: 1n });
  });
});
