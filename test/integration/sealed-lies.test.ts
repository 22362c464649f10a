/**
 * Goal: whoever stands between two hosts, and whoever comes without the ticket, can at most end a migration before
 * its commit point: what was changed, dropped, repeated, reordered or replayed is refused before a byte of it
 * reaches guest memory, named and counted, and the guest runs on at its source. Nothing of the guest and no secret
 * is on the wire. Method: real movers, and a man in the middle.
 */

import { connect } from 'node:net';
import { crc32 } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { HEADER, HEADER_BYTES } from '../../hosts/migration/wire.ts';
import { ticketKey } from '../../hosts/transform/encryption/handshake.ts';
import { MigrationPhase } from '../../proto/generated/godwit/v1/migration.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import {
  DEFAULT_TRANSFORMS,
  ENCRYPTIONS,
  type EncryptionName,
  encryptionOf,
} from '../../proto/transforms.ts';
import { EnginePair, guestSpec, holdAt, MIGRATION, optionsOf, TICKET, until } from './engine-pair.ts';
import {
  type Cut,
  cutNothing,
  cutRecords,
  cutTls,
  type Direction,
  Meddler,
  type Meddling,
  type Piece,
} from './meddler.ts';
import { testTicket } from './wire-peer.ts';

const { MIGRATION_PHASE_COMPLETED } = MigrationPhase;
const PAGE_COUNT = 256;
const SAMPLE_BYTES = 64;
/** Longer than any record of TLS with control frames in it. */
const PAGES_RECORD_BYTES = 4096;

let pair: EnginePair | undefined;
let meddler: Meddler | undefined;

afterEach(async () => {
  meddler?.close();
  await pair?.end();
  pair = undefined;
  meddler = undefined;
});

interface Wanted {
  readonly technique?: string;
  readonly encryption?: EncryptionName;
  readonly channels?: number;
  readonly mebibytes?: number;
  readonly failpoints?: ReturnType<typeof holdAt>;
}

async function create({
  technique = 'pre-copy',
  encryption = 'aes-256-gcm',
  channels = 1,
  mebibytes = 1,
  failpoints = [],
}: Wanted): Promise<EnginePair> {
  const transforms = { ...DEFAULT_TRANSFORMS, encryption: encryptionOf(encryption) };
  const options = optionsOf(technique, { transforms, channels, failpoints });
  pair = await EnginePair.create(guestSpec('uniform', 2000, 1, mebibytes), options);
  return pair;
}

/** A migration with somebody in the middle. A destination that does not come up is no failure of the test. */
async function meddled(wanted: Wanted, meddling: Meddling, cut: Cut = cutRecords): Promise<EnginePair> {
  const moving = await create(wanted);
  meddler = await Meddler.start(await moving.listen(), meddling, cut);
  await moving.connect(meddler.port).catch(() => moving.outgoing.cancel('the destination did not come up'));
  return moving;
}

const flipped = (bytes: Buffer, at: number): Buffer => {
  const changed = Buffer.from(bytes);
  changed[at] = (changed[at] as number) ^ 1;
  return changed;
};

/** The guest is at its source, proven, and nothing was placed at the destination. */
async function expectKept(moving: EnginePair, reason: RegExp): Promise<void> {
  const { outcome, result } = await moving.ends();
  expect(outcome.phase).not.toBe(MIGRATION_PHASE_COMPLETED);
  expect(`${outcome.reason}\n${result.reason}`).toMatch(reason);
  expect(moving.outgoing.refused + moving.incoming.refused).toBeGreaterThan(0);
  expect(moving.source.running).toBe(true);
  expect((await moving.source.audit()).faults).toEqual([]);
  expect(moving.destination.running).toBe(false);
}

function expectUntouched(moving: EnginePair): void {
  const memory = Buffer.from(moving.destination.shared.memory);
  expect(memory.equals(Buffer.alloc(memory.byteLength))).toBe(true);
}

/** A greeting with another public key, and checksums that are right. */
function forgedKey(bytes: Buffer): Buffer {
  const name = 'publicKey';
  // Behind its name and two bytes that tell its kind and length.
  const forged = flipped(bytes, bytes.indexOf(name) + name.length + 2);
  forged.writeUInt32LE(crc32(forged.subarray(HEADER_BYTES)), HEADER.tableChecksum);
  forged.writeUInt32LE(crc32(forged.subarray(0, HEADER.checksum)), HEADER.checksum);
  return forged;
}

const SEALED = ['aes-256-gcm', 'chacha20-poly1305', 'nacl-secretbox'] as const;
const DOES_NOT_OPEN = /record \d+ does not open/;

/** Meddles with records of one direction of the first connection, from the first behind HELLO and WELCOME on. */
function records(
  direction: Direction,
  meddle: (record: number, bytes: Buffer, piece: Piece) => readonly Buffer[],
): Meddling {
  return (piece) => {
    const isMeant = piece.direction === direction && piece.connection === 0 && piece.index > 0;
    return isMeant ? meddle(piece.index - 1, piece.bytes, piece) : [piece.bytes];
  };
}

describe('before the commit point', () => {
  let held: Buffer | undefined;

  test.each<[string, EncryptionName, (bytes: Buffer) => number]>([
    ['length', 'aes-256-gcm', () => 1],
    ['head', 'aes-256-gcm', () => 20],
    ['content', 'aes-256-gcm', (bytes) => bytes.byteLength >> 1],
    ['tag', 'aes-256-gcm', (bytes) => bytes.byteLength - 1],
    ['content', 'chacha20-poly1305', (bytes) => bytes.byteLength >> 1],
    ['content', 'nacl-secretbox', (bytes) => bytes.byteLength >> 1],
  ])('a flipped bit in the %s of pages is refused with %s', async (_, encryption, where) => {
    const flip = records('to-destination', (record, bytes) => [
      record === 0 ? flipped(bytes, where(bytes)) : bytes,
    ]);
    const moving = await meddled({ encryption }, flip);
    await expectKept(moving, /record \d+ (does not open|announces|has a wrong checksum)/);
    expectUntouched(moving);
  });

  test.each<[string, Meddling]>([
    ['dropped', records('to-destination', (record, bytes) => (record === 0 ? [] : [bytes]))],
    ['repeated', records('to-destination', (record, bytes) => (record === 0 ? [bytes, bytes] : [bytes]))],
    [
      'reordered',
      records('to-destination', (record, bytes) => {
        if (record > 0) return record === 1 ? [bytes, held as Buffer] : [bytes];
        held = bytes;
        return [];
      }),
    ],
    [
      'replayed',
      records('to-destination', (record, bytes) => {
        if (record === 0) held = bytes;
        return record === 1 ? [bytes, held as Buffer] : [bytes];
      }),
    ],
    [
      'announced with 2 GiB',
      records('to-destination', (_, bytes) => {
        const forged = Buffer.from(bytes);
        forged.writeUInt32LE(0x7fffffff);
        forged.writeUInt32LE(crc32(forged.subarray(0, 4)), 4);
        return [forged];
      }),
    ],
    ['in the clear', records('to-destination', () => [Buffer.from('GDWT'.repeat(100))])],
  ])('a record that is %s is refused', async (_, meddling) => {
    await expectKept(
      await meddled({}, meddling),
      /record \d+ (does not open|announces|has a wrong checksum)/,
    );
  });

  test('a record of the destination that was changed is refused by the source', async () => {
    const moving = await meddled(
      {},
      records('to-source', (_record, bytes) => [flipped(bytes, 8)]),
    );
    await expectKept(moving, DOES_NOT_OPEN);
    expect(moving.outgoing.refused).toBe(1);
  });

  test('a record of another channel is refused', async () => {
    // Each connection's records go out on the other one, in their order.
    const waiting: Piece[] = [];
    const swap: Meddling = (piece) => {
      if (piece.direction === 'to-source' || piece.index === 0) return [piece.bytes];
      const other = waiting.findIndex(({ connection }) => connection !== piece.connection);
      waiting.push(piece);
      return other === -1 ? [] : waiting.splice(other, 1).map(({ bytes }) => bytes);
    };
    await expectKept(await meddled({ channels: 2 }, swap), DOES_NOT_OPEN);
  });

  test('a record of an earlier migration is refused, though it was sealed by the same ticket', async () => {
    await meddled({}, ({ bytes }) => [bytes]);
    await pair?.ends();
    const earlier = meddler?.said.filter(({ direction }) => direction === 'to-destination') ?? [];
    meddler?.close();
    await pair?.end();
    const moving = await meddled(
      {},
      records('to-destination', (_, bytes, { index }) => [earlier[index]?.bytes ?? bytes]),
    );
    await expectKept(moving, DOES_NOT_OPEN);
    expectUntouched(moving);
  });

  test.each<Direction>(['to-source', 'to-destination'])(
    'a greeting %s with another key is refused',
    async (direction) => {
      const meddling: Meddling = ({ bytes, index, ...piece }) => {
        if (piece.direction !== direction || index > 0) return [bytes];
        return [forgedKey(bytes)];
      };
      const moving = await meddled({}, meddling);
      await expectKept(moving, /does not prove|did not come up|closed/);
      expectUntouched(moving);
    },
  );

  test('a changed record of TLS is refused', async () => {
    let isDone = false;
    const flip: Meddling = ({ direction, bytes }) => {
      if (isDone || direction === 'to-source' || bytes.byteLength < PAGES_RECORD_BYTES) return [bytes];
      isDone = true;
      return [flipped(bytes, 100)];
    };
    const moving = await meddled({ encryption: 'tls' }, flip, cutTls);
    await expectKept(moving, /bad record mac|decryption failed/i);
  });
});

describe('a destination without the ticket', () => {
  test.each<EncryptionName>(['aes-256-gcm', 'none', 'tls'])(
    'is refused and counted with %s, and disturbs nothing',
    async (encryption) => {
      const moving = await create({ encryption });
      moving.ticket = testTicket(MIGRATION, { secret: Buffer.alloc(32, 'another secret') });
      await expect(moving.begin()).rejects.toThrow('the data connection to the source');
      await until(() => moving.outgoing.refused === 1);
      expect(moving.source.running).toBe(true);
      expectUntouched(moving);
      expect(moving.abandoned).toEqual([]);
    },
  );

  test('is refused with a HELLO that it heard, when channels may be opened again', async () => {
    const failpoints = holdAt('after-commit');
    const moving = await meddled({ technique: 'post-copy', failpoints }, ({ bytes }) => [bytes]);
    await until(() => moving.progress?.failpoint === 'after-commit');
    const hello = meddler?.said.find(({ direction }) => direction === 'to-source');
    const stranger = connect(await moving.port.promise, '127.0.0.1');
    stranger.on('error', () => {});
    stranger.resume().write(hello?.bytes ?? '');
    await new Promise((resolve) => stranger.once('close', resolve));
    expect(moving.outgoing.refused).toBe(1);
    moving.outgoing.releaseFailpoint();
    const { outcome, result } = await moving.ends();
    expect(outcome).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
    expect(result.report.postcopy?.recoveries).toBe(0);
  });
});

describe('after the switch of a post-copy', () => {
  test.each<EncryptionName>(['aes-256-gcm', 'tls'])(
    'a changed record costs no page: with %s the hosts connect again, with new keys',
    async (encryption) => {
      const isTls = encryption === 'tls';
      let isDone = false;
      const flip: Meddling = ({ direction, bytes }) => {
        const isMeant = direction === 'to-destination' && bytes.byteLength >= PAGES_RECORD_BYTES;
        if (isDone || !isMeant || pair?.isServing !== true) return [bytes];
        isDone = true;
        return [flipped(bytes, bytes.byteLength >> 1)];
      };
      const cut = isTls ? cutTls : cutRecords;
      const moving = await meddled({ technique: 'post-copy', encryption, mebibytes: 4 }, flip, cut);
      const { outcome, result } = await moving.ends();
      expect(isDone).toBe(true);
      expect(outcome).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
      expect(result.report.postcopy?.recoveries).toBe(1);
      expect(result.report.refused).toBe(1n);
      expect((await moving.destination.audit()).faults).toEqual([]);
    },
  );
});

describe.each(ENCRYPTIONS)('with %s', (encryption) => {
  test('a guest moves whole, and neither its memory nor a secret is where it should not be', async () => {
    const moving = await meddled({ encryption }, ({ bytes }) => [bytes], cutNothing);
    const { outcome, result } = await moving.ends();
    expect(outcome).toMatchObject({ phase: MIGRATION_PHASE_COMPLETED, reason: '' });
    expect((await moving.destination.audit()).faults).toEqual([]);
    const wire = Buffer.concat((meddler as Meddler).said.map(({ bytes }) => bytes));
    expect(wire.includes('GDWT')).toBe(encryption !== 'tls');
    expect(pagesIn(wire, moving.destination.shared.memory) > 0).toBe(encryption === 'none');
    const secrets = ['proof', 'tls'].map((use) => ticketKey(TICKET, use)).concat(TICKET.secret);
    const told = JSON.stringify({ outcome, result, progress: moving.progress }, (_, value) =>
      typeof value === 'bigint' ? String(value) : (value as unknown),
    );
    for (const secret of secrets) {
      expect(wire.includes(secret)).toBe(false);
      for (const form of ['hex', 'base64', 'base64url', 'latin1'] as const) {
        expect(told).not.toContain(secret.toString(form));
      }
    }
    const report = outcome.report?.transforms.find(({ name }) => name === 'encryption');
    expect(report?.variant).toBe(encryption);
    const isSealed = SEALED.some((name) => name === encryption);
    expect(Number(report?.bytesOut) > Number(report?.bytesIn)).toBe(isSealed);
  });
});

/** How many of the guest's pages that are not empty can be read off the wire. */
function pagesIn(wire: Buffer, memory: SharedArrayBuffer): number {
  const pages = Buffer.from(memory);
  let count = 0;
  for (let page = 0; page < PAGE_COUNT; page++) {
    const start = page * PAGE_BYTES;
    // Its last bytes, which the workload writes least.
    const sample = pages.subarray(start + PAGE_BYTES - SAMPLE_BYTES, start + PAGE_BYTES);
    if (sample.some((byte) => byte !== 0) && wire.includes(sample)) count++;
  }
  return count;
}
