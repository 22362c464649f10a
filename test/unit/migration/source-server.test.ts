/**
 * Goal: a connection becomes a channel only with the ticket of this migration, while it is good; whatever else comes
 * is refused by its reason, which says no secret. Method: a source's data port, and peers with tickets of all kinds.
 */

import { connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { Silence } from '../../../hosts/migration/silence.ts';
import { SourceServer } from '../../../hosts/migration/source-server.ts';
import { Sealing } from '../../../hosts/transform/encryption/sealing.ts';
import { ticketProblem } from '../../../hosts/transform/encryption/ticket.ts';
import type { Ticket } from '../../../proto/generated/godwit/v1/host.ts';
import { Encryption } from '../../../proto/generated/godwit/v1/migration.ts';
import { testTicket, WirePeer } from '../../integration/wire-peer.ts';

const PAGE_COUNT = 16;
const HOUR_MS = 3_600_000;
const TICKET = testTicket('m-1');
const EXPIRED = testTicket('m-1', { expiresAtMs: Date.now() - 1 });

let server: SourceServer | undefined;
const peers: WirePeer[] = [];
const refusals: string[] = [];

afterEach(() => {
  for (const { socket } of peers.splice(0)) socket.destroy();
  server?.close();
  refusals.length = 0;
});

/** A source with this ticket. */
async function listen(ticket: Ticket): Promise<{ port: number; port0: SourceServer }> {
  const sealing = new Sealing('source', Encryption.ENCRYPTION_AES_256_GCM);
  const settings = { listenAddress: '127.0.0.1', ticket, sealing, pageCount: PAGE_COUNT, channelCount: 1 };
  const silence = new Silence('the destination', HOUR_MS, new AbortController().signal);
  const made = new SourceServer(settings, silence, (reason) => refusals.push(reason));
  server = made;
  return { port: await made.listen(), port0: made };
}

function dial(port: number, ticket: Ticket): WirePeer {
  const peer = new WirePeer(connect(port, '127.0.0.1'), 'source', PAGE_COUNT, ticket);
  peers.push(peer);
  return peer;
}

describe('a data port', () => {
  test('welcomes who holds its ticket', async () => {
    const { port } = await listen(TICKET);
    await dial(port, TICKET).greet();
    expect(refusals).toEqual([]);
  });

  test.each<[string, Ticket, Ticket, string]>([
    ['another secret', TICKET, testTicket('m-1', { secret: Buffer.alloc(32, 1) }), 'does not prove'],
    ['another migration', TICKET, testTicket('m-2'), 'names another migration'],
    ['another guest', TICKET, { ...TICKET, guest: 'other' }, 'does not prove'],
    ['a longer life', EXPIRED, { ...EXPIRED, expiresAtMs: EXPIRED.expiresAtMs + HOUR_MS }, 'expired'],
    ['no life any more', EXPIRED, EXPIRED, 'the ticket expired'],
  ])('refuses a ticket with %s, and says why', async (_, ours, theirs, reason) => {
    const { port } = await listen(ours);
    const peer = dial(port, theirs);
    peer.sayHello();
    await peer.closed;
    expect(refusals).toEqual([expect.stringContaining(reason)]);
    expect(refusals[0]).not.toContain(theirs.secret.toString('hex'));
  });

  test('welcomes again, and for as long as it holds the migration, who came before the ticket expired', async () => {
    const { port, port0 } = await listen(EXPIRED);
    port0.allowReconnect();
    const again = port0.reconnected();
    await dial(port, EXPIRED).greet();
    expect(await again).toHaveLength(1);
    expect(refusals).toEqual([]);
  });
});

describe('a host', () => {
  const purpose = { migration: 'm-1', guest: 'engine', epoch: 3n, source: 'host-1', destination: 'host-2' };

  test.each<[string, Ticket | undefined, RegExp | undefined]>([
    ['the right ticket', TICKET, undefined],
    ['no ticket', undefined, /there is no ticket/],
    ['an expired ticket', EXPIRED, /expired \d+ ms ago/],
    ['a ticket of another migration', testTicket('m-2'), /foreign: its migration is "m-2", not "m-1"/],
    ['a ticket of another host', { ...TICKET, source: 'host-9' }, /foreign: its source is "host-9"/],
    ['a ticket of another epoch', { ...TICKET, epoch: 4n }, /foreign: its epoch is "4"/],
    ['a ticket with half a secret', { ...TICKET, secret: Buffer.alloc(16) }, /secret has 16 bytes/],
  ])('that is given %s takes part accordingly', (_, ticket, problem) => {
    const found = ticketProblem(ticket, purpose, Date.now());
    if (problem === undefined) expect(found).toBeUndefined();
    else expect(found).toMatch(problem);
  });
});
