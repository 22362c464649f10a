/**
 * Goal: what comes out of sealed records is what went in, or nothing: whatever is done to them on their way, not one
 * byte of it is given out that was not sealed just there. And two ends agree on keys only if they mean the same
 * connection of the same migration. Method: arbitrary frames and arbitrary damage, with every cipher.
 */

import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { answerHello, type ConnectionTerms, Hello } from '../../hosts/transform/encryption/handshake.ts';
import { SEALING_LIMITS } from '../../hosts/transform/encryption/limits.ts';
import { RecordOpener } from '../../hosts/transform/encryption/record-opener.ts';
import { giveBack, RecordSealer } from '../../hosts/transform/encryption/record-sealer.ts';
import { recordCipher } from '../../hosts/transform/encryption/registry.ts';
import { TransformMeasure } from '../../hosts/transform/transform-measure.ts';
import { Encryption } from '../../proto/generated/godwit/v1/migration.ts';
import { encryptionOf } from '../../proto/transforms.ts';
import { testTicket } from '../integration/wire-peer.ts';

const RECORD_BYTES_MAX = 300;
const KEY = Buffer.alloc(32, 'one key');

const frame = fc.tuple(
  fc.uint8Array({ minLength: 1, maxLength: 100 }),
  fc.uint8Array({ minLength: 0, maxLength: 1000 }),
);
const frames = fc.array(frame, { minLength: 1, maxLength: 6 });

function sealAll(encryption: Encryption, wanted: readonly (readonly [Uint8Array, Uint8Array])[]): Buffer[] {
  const cipher = recordCipher(encryption, KEY)!;
  const sealer = new RecordSealer(cipher, RECORD_BYTES_MAX, new TransformMeasure('', ''));
  return wanted.flatMap(([head, payload]) =>
    [...sealer.seal(head, payload)].map((pieces) => Buffer.concat(pieces)),
  );
}

/** All that an opener gives out of a stream that comes in pieces, and what it says last. */
function openAll(encryption: Encryption, stream: Uint8Array, pieceBytes: number): [Buffer, string] {
  const cipher = recordCipher(encryption, KEY)!;
  const opener = new RecordOpener(cipher, RECORD_BYTES_MAX, new TransformMeasure('', ''));
  const found: Buffer[] = [];
  for (let start = 0; start < stream.byteLength; ) {
    const space = opener.space();
    expect(space.byteLength).toBeGreaterThan(0);
    const piece = stream.subarray(start, start + Math.min(pieceBytes, space.byteLength));
    space.set(piece);
    opener.filled(piece.byteLength);
    start += piece.byteLength;
    for (;;) {
      const opened = opener.next();
      if (opened.kind === 'malformed') return [Buffer.concat(found), opened.reason];
      if (opened.kind === 'need-more') break;
      found.push(Buffer.from(opened.bytes));
      giveBack(opened.bytes);
    }
  }
  return [Buffer.concat(found), ''];
}

type Damage = (records: Buffer[], at: number, bit: number) => Buffer[];
const DAMAGES: [string, Damage][] = [
  [
    'a flipped bit',
    (records, at, bit) =>
      records.map((record, index) => {
        if (index !== at) return record;
        const changed = Buffer.from(record);
        const byte = (bit >> 3) % changed.byteLength;
        changed[byte] = (changed[byte] as number) ^ (1 << (bit & 7));
        return changed;
      }),
  ],
  ['a dropped record', (records, at) => records.toSpliced(at, 1)],
  ['a repeated record', (records, at) => records.toSpliced(at, 0, records[at] as Buffer)],
  ['an earlier record again', (records, at) => records.toSpliced(at + 1, 0, records[0] as Buffer)],
  [
    'two records in the wrong order',
    (records, at) => records.toSpliced(at, 2, ...records.slice(at, at + 2).toReversed()),
  ],
  [
    'a stream that is cut off',
    (records, at, bit) => [...records.slice(0, at), records[at]!.subarray(0, bit % records[at]!.byteLength)],
  ],
];

describe.each(['aes-256-gcm', 'chacha20-poly1305', 'nacl-secretbox'] as const)('records of %s', (name) => {
  const encryption = encryptionOf(name);

  test('hold what was sealed, however large it is and however the stream is cut', () => {
    fc.assert(
      fc.property(frames, fc.integer({ min: 1, max: 700 }), (wanted, pieceBytes) => {
        const stream = Buffer.concat(sealAll(encryption, wanted));
        const [found, problem] = openAll(encryption, stream, pieceBytes);
        expect(problem).toBe('');
        expect(found.equals(Buffer.concat(wanted.flat()))).toBe(true);
      }),
    );
  });

  test.each(DAMAGES)('give out nothing that was not there after %s', (_, damage) => {
    fc.assert(
      fc.property(frames, fc.nat(), fc.nat(10_000), (wanted, place, bit) => {
        const records = sealAll(encryption, wanted);
        const at = place % records.length;
        const whole = Buffer.concat(wanted.flat());
        const damaged = damage(records, at, bit);
        const [found, problem] = openAll(encryption, Buffer.concat(damaged), 512);
        const before = openAll(encryption, Buffer.concat(records.slice(0, at)), 512)[0].byteLength;
        // Exactly what came before the damage, or, of a record that was repeated, with it.
        expect(whole.subarray(0, found.byteLength).equals(found)).toBe(true);
        expect(found.byteLength).toBeGreaterThanOrEqual(before);
        if (found.byteLength < whole.byteLength && damaged.length > at + 1) expect(problem).not.toBe('');
      }),
    );
  });
});

test('a record is in its place by its length alone: more than is allowed is not waited for', () => {
  const opener = new RecordOpener(
    recordCipher(Encryption.ENCRYPTION_AES_256_GCM, KEY)!,
    RECORD_BYTES_MAX,
    new TransformMeasure('', ''),
  );
  const prefix = Buffer.alloc(SEALING_LIMITS.prefixBytes);
  prefix.writeUInt32LE(RECORD_BYTES_MAX + SEALING_LIMITS.tagBytes + 1);
  prefix.writeUInt32LE(crc32(prefix.subarray(0, 4)), 4);
  opener.space().set(prefix);
  opener.filled(prefix.byteLength);
  const opened = opener.next();
  expect(opened.kind === 'malformed' ? opened.reason : '').toContain('announces 317');
});

describe('the two ends of a connection', () => {
  const ticket = testTicket('m-1');
  const terms: ConnectionTerms = {
    ...{ ticket, encryption: Encryption.ENCRYPTION_AES_256_GCM, channel: 3, pageCount: 256 },
    binding: new Uint8Array(0),
  };

  test('agree on two keys, which are others on every connection', () => {
    const keys = [1, 2].flatMap(() => {
      const hello = new Hello(terms);
      const answer = answerHello(terms, hello.greeting);
      const far = hello.welcomed(answer.welcome);
      expect(far).toEqual(answer.keys);
      return [far.toSource.toString('hex'), far.toDestination.toString('hex')];
    });
    expect(new Set(keys).size).toBe(4);
  });

  const others: [string, Partial<ConnectionTerms>][] = [
    ['channel', { channel: 4 }],
    ['page count', { pageCount: 257 }],
    ['encryption', { encryption: Encryption.ENCRYPTION_NONE }],
    ['TLS connection', { binding: Buffer.alloc(32, 1) }],
    ['secret', { ticket: { ...ticket, secret: Buffer.alloc(32) } }],
    ['migration', { ticket: { ...ticket, migration: 'm-2' } }],
    ['guest', { ticket: { ...ticket, guest: 'other' } }],
    ['epoch', { ticket: { ...ticket, epoch: 4n } }],
    ['source', { ticket: { ...ticket, source: 'host-3' } }],
    ['destination', { ticket: { ...ticket, destination: 'host-3' } }],
    ['expiry', { ticket: { ...ticket, expiresAtMs: ticket.expiresAtMs + 1 } }],
    ['border between two names', { ticket: { ...ticket, source: 'host-1h', destination: 'ost-2' } }],
  ];

  test.each(others)('do not believe each other when one means another %s', (_, change) => {
    const hello = new Hello(terms);
    const other = { ...terms, ...change };
    expect(() => answerHello(other, hello.greeting)).toThrow('does not prove');
    // Not the source either, whatever it has let pass.
    const { welcome } = answerHello(other, new Hello(other).greeting);
    expect(() => hello.welcomed(welcome)).toThrow('does not prove');
  });

  test('take no public key with which everybody shares the same secret', () => {
    // The point of order 1, proven by one who holds the ticket.
    const hello = new Hello(terms);
    const zero = Buffer.alloc(32);
    expect(() => answerHello(terms, { ...hello.greeting, publicKey: zero })).toThrow();
  });
});
