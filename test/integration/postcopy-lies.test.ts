/**
 * Goal: after the switch of a post-copy, too, whoever lies is refused, and no page of a running guest is
 * overwritten; and faults become requests as they should. Method: real movers against a peer that a test
 * plays.
 */

import { connect, createServer, type Server } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { bootId } from '../../hosts/clock.ts';
import { VCPU_STATE } from '../../hosts/guest/control-layout.ts';
import { Guest } from '../../hosts/guest/guest.ts';
import { IncomingMigration } from '../../hosts/migration/incoming.ts';
import { OutgoingMigration } from '../../hosts/migration/outgoing.ts';
import { RunKind, type Side } from '../../hosts/migration/wire.ts';
import { HandoverStanding } from '../../proto/generated/godwit/v1/host.ts';
import { type MigrationOptions, MigrationPhase } from '../../proto/generated/godwit/v1/migration.ts';
import { guestSpec, MIGRATION, optionsOf, THREADS, TICKET, until } from './engine-pair.ts';
import { WirePeer } from './wire-peer.ts';

const PAGE_COUNT = 256;
const VCPUS = 8;
const PAGE_ZERO = { firstPage: 0, pageCount: 1, kind: RunKind.DATA };

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

  /** A source that a test plays, at the end of its final round. */
  async function start(
    technique: string,
    vcpuCount: number,
    recoveryLimitMs = 0,
    again: (peer: WirePeer) => void = () => {},
  ): Promise<[WirePeer, Guest]> {
    const uniform = guestSpec('uniform', 0, vcpuCount, 1);
    // Every vCPU writes the first page and no other.
    const spec = { ...uniform, workload: { ...uniform.workload!, workingSetBytes: 4096n } };
    const options = optionsOf(technique, { postcopyPreempt: false, recoveryLimitMs });
    const arriving = await Guest.incoming(spec);
    guest = arriving;
    arriving.control.leaseUntilMs = Number.POSITIVE_INFINITY;
    const accepted = Promise.withResolvers<WirePeer>();
    const listener = createServer((socket) => {
      const peer = new WirePeer(socket, 'destination', PAGE_COUNT, TICKET);
      peers.push(peer);
      if (peers.length > 1) again(peer);
      accepted.resolve(peer);
    });
    server = listener;
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    const { port: sourcePort } = listener.address() as { port: number };
    const settings = { migration: MIGRATION, threads: THREADS, guest: arriving, options, ticket: TICKET };
    incoming = new IncomingMigration(
      { ...settings, source: 'host-1', sourceAddress: '127.0.0.1', sourcePort, sourceBootId: bootId() },
      { resumed: () => {}, commitMissing: async () => 'source', abandoned: () => {} },
    );
    const connected = incoming.connect();
    const peer = await accepted.promise;
    await peer.sayWelcome();
    await peer.hear('STANDBY');
    await connected;
    peer.say('ROUND_END', { round: 1 });
    return [peer, arriving];
  }

  /** All that the guest needs to run is there, but no page. */
  async function becomeReady(peer: WirePeer, arriving: Guest): Promise<void> {
    peer.say('MISSING', { pages: PAGE_COUNT });
    const vcpuStateBytes = Array.from({ length: VCPUS }, () => 0);
    peer.say('DEVICE_STATE', { ledgerDigest: 'none', vcpuStateBytes }, Buffer.alloc(5000));
    await peer.hear('READY');
    expect(arriving.control.missingPages).toBe(PAGE_COUNT);
  }

  /** The guest runs, and each of its vCPUs waits for the first page. */
  async function asleep(
    recoveryLimitMs = 0,
    again: (peer: WirePeer) => void = () => {},
  ): Promise<[WirePeer, Guest]> {
    const [peer, arriving] = await start('post-copy', VCPUS, recoveryLimitMs, again);
    await becomeReady(peer, arriving);
    peer.say('COMMIT', {});
    await peer.hear('RESUMED');
    const { body } = await peer.hear('REQUEST');
    expect(body).toEqual({ pages: [0] });
    const states = Array.from({ length: VCPUS }, (_, vcpu) => vcpu);
    await until(() => states.every((vcpu) => arriving.control.vcpuState(vcpu) === VCPU_STATE.FAULTED));
    return [peer, arriving];
  }

  test('asks once for a page for which eight vCPUs wait, and gives it to all', async () => {
    const [peer, arriving] = await asleep();
    await arriving.pause();
    await arriving.resume();
    peer.sayPages(PAGE_ZERO);
    const { operations } = arriving.series.counts();
    await until(() => arriving.series.counts().operations > operations + 10_000);
    expect(arriving.control.missingPages).toBe(PAGE_COUNT - 1);
    await arriving.destroy();
    expect((await peer.hear('FAILURE')).body.reason).toBe('the guest was destroyed');
    const { report } = await incoming.finished();
    expect(report.postcopy).toMatchObject({ requests: 1n, faults: BigInt(VCPUS), placedPages: 1n });
  });

  test('ends with a guest that is destroyed while eight vCPUs wait', async () => {
    const [peer, arriving] = await asleep();
    await arriving.destroy();
    await peer.hear('FAILURE');
    await peer.closed;
    expect((await incoming.finished()).reason).toContain(`${PAGE_COUNT} pages had not come`);
  });

  test('tells a source that it gives up, however much that says before it hears it', async () => {
    const [peer, arriving] = await asleep();
    peer.socket.pause();
    await arriving.destroy();
    for (let count = 0; count < 100; count++) {
      peer.say('ALIVE', {});
      await setImmediate();
    }
    peer.socket.resume();
    expect((await peer.hear('FAILURE')).body.reason).toBe('the guest was destroyed');
    await incoming.finished();
  });

  test('abandons a guest whose mover ends at READY: nobody is left to fetch its pages', async () => {
    const [peer, arriving] = await start('post-copy', VCPUS);
    await becomeReady(peer, arriving);
    await arriving.destroy();
    const { phase, reason } = await incoming.finished();
    expect(phase).toBe(MigrationPhase.MIGRATION_PHASE_FAILED);
    expect(reason).toBe('the guest was destroyed');
    expect(incoming.standing()).toBe(HandoverStanding.HANDOVER_STANDING_ABANDONED);
  });

  test('refuses a ledger while pages are missing', async () => {
    const [peer] = await asleep();
    server?.close();
    peer.say('LEDGER_END', {});
    await peer.closed;
    const { reason, report } = await incoming.finished();
    expect(reason).toContain('LEDGER_END is not allowed now');
    expect(report.refused).toBe(1n);
  });

  test('gives up a source that welcomes it over and over and sends nothing, without haste', async () => {
    let connections = 0;
    const [peer, arriving] = await asleep(1000, (next) => {
      connections++;
      void next
        .sayWelcome()
        .then(() => next.hear('LACKING'))
        .then(() => next.socket.destroy());
    });
    peer.socket.destroy();
    const { phase, reason, report } = await incoming.finished();
    expect(phase).toBe(MigrationPhase.MIGRATION_PHASE_FAILED);
    expect(reason).toContain(`${PAGE_COUNT} pages were lost with host-1`);
    expect(arriving.failure?.message).toBe(reason);
    // The first at once, and then five in each second at most.
    expect(connections).toBeLessThan(10);
    expect(report.postcopy?.recoveries).toBe(connections);
  });

  test('asks again on a new link, once, for the page that eight vCPUs wait for', async () => {
    const [peer, arriving] = await asleep(600_000, (next) => {
      void next
        .sayWelcome()
        .then(() => next.hear('REQUEST'))
        .then(({ body }) => {
          expect(body).toEqual({ pages: [0] });
          next.sayPages(PAGE_ZERO);
        });
    });
    await arriving.pause();
    peer.socket.destroy();
    await arriving.resume();
    const { operations } = arriving.series.counts();
    await until(() => arriving.series.counts().operations > operations + 10_000);
    await arriving.destroy();
    const { report } = await incoming.finished();
    expect(report.postcopy).toMatchObject({
      requests: 2n,
      faults: BigInt(VCPUS),
      placedPages: 1n,
      recoveries: 1,
    });
  });

  test("does not give its guest up because a stranger in its source's place says so", async () => {
    let connections = 0;
    const [peer, arriving] = await asleep(600_000, (next) => {
      if (++connections === 1) {
        next.say('FAILURE', { reason: 'a stranger says so' });
        return;
      }
      void next
        .sayWelcome()
        .then(() => next.hear('REQUEST'))
        .then(() => next.sayPages(PAGE_ZERO));
    });
    const { operations } = arriving.series.counts();
    peer.socket.destroy();
    await until(() => arriving.series.counts().operations > operations + 10_000 || !!arriving.failure);
    expect(arriving.failure).toBeUndefined();
    await arriving.destroy();
    const { report } = await incoming.finished();
    expect(report).toMatchObject({ refused: 1n, postcopy: { recoveries: 1, placedPages: 1n } });
  });

  test('refuses a page that is here, which the guest has written since', async () => {
    const [peer, arriving] = await asleep();
    peer.sayPages(PAGE_ZERO);
    await until(() => arriving.series.counts().operations > 10_000);
    server?.close();
    peer.sayPages(PAGE_ZERO);
    await peer.closed;
    const { phase, reason, report } = await incoming.finished();
    expect(phase).toBe(MigrationPhase.MIGRATION_PHASE_FAILED);
    expect(reason).toContain('255 pages were lost with host-1: page 0 came though it is here');
    expect(report.refused).toBe(1n);
    expect(arriving.failure?.message).toBe(reason);
  });

  test.each<[string, string, (peer: WirePeer) => void]>([
    ['of a stop-and-copy', 'stop-and-copy', (peer) => peer.say('MISSING', { pages: PAGE_COUNT })],
    [
      'that it says twice',
      'post-copy',
      (peer) => {
        peer.say('MISSING', { pages: PAGE_COUNT });
        peer.say('MISSING', { pages: PAGE_COUNT });
      },
    ],
    [
      'with another number than its bitmap has',
      'hybrid',
      (peer) => peer.say('MISSING', { pages: 2 }, Buffer.alloc(PAGE_COUNT / 8, 1)),
    ],
    ['with another number than all', 'post-copy', (peer) => peer.say('MISSING', { pages: 3 })],
    [
      'with a bitmap of another guest',
      'hybrid',
      (peer) => peer.say('MISSING', { pages: 8 }, Buffer.alloc(8, 1)),
    ],
  ])('abandons a guest whose source names missing pages %s', async (_, technique, lie) => {
    const [peer, arriving] = await start(technique, 1);
    lie(peer);
    await peer.closed;
    const { phase, report } = await incoming.finished();
    expect(phase).toBe(MigrationPhase.MIGRATION_PHASE_FAILED);
    expect(report.refused).toBe(1n);
    expect(arriving.running).toBe(false);
  });
});

describe('the source', () => {
  let port = 0;

  function call(channel = 0): WirePeer {
    const peer = new WirePeer(connect(port, '127.0.0.1'), 'source', PAGE_COUNT, TICKET);
    peers.push(peer);
    peer.sayHello({ channel });
    return peer;
  }

  async function dial(channel = 0): Promise<WirePeer> {
    const peer = call(channel);
    await peer.hear('WELCOME');
    return peer;
  }

  /** A migration of a guest that does nothing; all pages have been sent in one round. */
  function moving(
    leaving: Guest,
    options: MigrationOptions,
    witness: Promise<Side> = Promise.reject(new Error('RESUMED was said')),
  ): OutgoingMigration {
    witness.catch(() => {});
    port = 0;
    const listening = Promise.withResolvers<number>();
    void listening.promise.then((value) => {
      port = value;
    });
    const settings = { migration: MIGRATION, threads: THREADS, guest: leaving, options, ticket: TICKET };
    return new OutgoingMigration(
      { ...settings, listenAddress: '127.0.0.1' },
      {
        listening: listening.resolve,
        progress: () => {},
        beginHandover: async () => {},
        serving: () => {},
        commitUnanswered: () => witness,
        free: async () => {
          await leaving.destroy();
          return 1;
        },
      },
    );
  }

  /** A destination that has just heard COMMIT. One page was dirty at the switch. */
  async function committed(leaving: Guest): Promise<WirePeer> {
    await until(() => port !== 0);
    return await commit(leaving, await dial());
  }

  async function commit(leaving: Guest, peer: WirePeer): Promise<WirePeer> {
    peer.say('START', {});
    peer.say('STANDBY', {});
    await peer.hear('ROUND_END');
    new Uint8Array(leaving.shared.pageTable)[7] = 7;
    peer.say('ROUND_DONE', { round: 1 });
    expect((await peer.hear('MISSING')).body).toEqual({ pages: 1 });
    await peer.hear('DEVICE_STATE');
    peer.say('READY', { installedAtMs: 1 });
    await peer.hear('COMMIT');
    return peer;
  }

  test('welcomes a destination whose RESUMED was lost when the witness has spoken, not before', async () => {
    const leaving = await Guest.create(guestSpec('idle', 0, 1, 1));
    guest = leaving;
    const witness = Promise.withResolvers<Side>();
    const outgoing = moving(leaving, optionsOf('hybrid', { postcopyPreempt: false }), witness.promise);
    const outcome = outgoing.run();
    (await committed(leaving)).socket.destroy();
    // The one that says HELLO first is closed for the other's sake: it was there, and was not welcomed.
    const both = [call(), call()] as const;
    const closed = await Promise.race(both.map(async (peer) => await peer.closed.then(() => peer)));
    expect(closed.socket.bytesRead).toBe(0);
    witness.resolve('destination');
    const last = closed === both[0] ? both[1] : both[0];
    await last.hear('WELCOME');
    last.say('FAILURE', { reason: 'that will do' });
    expect((await outcome).reason).toContain('the destination gave up: that will do');
    expect(outgoing.refused).toBe(0);
  });

  test('hears a destination that gives up when another of its connections has ended before', async () => {
    const leaving = await Guest.create(guestSpec('idle', 0, 1, 1));
    guest = leaving;
    const outcome = moving(leaving, optionsOf('hybrid')).run();
    await until(() => port !== 0);
    const [main, priority] = await Promise.all([dial(0), dial(1)]);
    await commit(leaving, main);
    main.say('RESUMED', { resumedAtMs: 1 });
    await main.hear('ALIVE');
    priority.socket.destroy();
    for (let count = 0; count < 100; count++) await setImmediate();
    main.say('FAILURE', { reason: 'that will do' });
    expect((await outcome).reason).toContain('the destination gave up: that will do');
  });

  test('serves no page that was not missing, and believes no destination that says it lacks one', async () => {
    const leaving = await Guest.create(guestSpec('idle', 0, 1, 1));
    guest = leaving;
    const outgoing = moving(leaving, optionsOf('hybrid', { postcopyPreempt: false }));
    const outcome = outgoing.run();
    const peer = await committed(leaving);
    peer.say('RESUMED', { resumedAtMs: 1 });
    peer.say('REQUEST', { pages: [8] });
    await peer.closed;
    const beyond = await dial();
    beyond.say('LACKING', { firstPage: 0, bitmap: new Uint8Array(32) });
    beyond.say('REQUEST', { pages: [PAGE_COUNT + 7] });
    await beyond.closed;
    const again = await dial();
    again.say('LACKING', { firstPage: 0, bitmap: new Uint8Array(32).fill(1) });
    await again.closed;
    const third = await dial();
    third.say('FAILURE', { reason: 'that will do' });
    const { phase, reason, report } = await outcome;
    expect(phase).toBe(MigrationPhase.MIGRATION_PHASE_FAILED);
    expect(reason).toContain('did not get all its pages: the destination gave up: that will do');
    expect(report?.postcopy?.missingPages).toBe(1n);
    expect(outgoing.refused).toBe(3);
  });
});
