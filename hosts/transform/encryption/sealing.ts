/** One side's sealing of a migration: what it does with each connection's keys, and what it cost. */

import type { Ticket } from '../../../proto/generated/godwit/v1/host.ts';
import { Encryption } from '../../../proto/generated/godwit/v1/migration.ts';
import { encryptionName } from '../../../proto/transforms.ts';
import { TransformMeasure } from '../transform-measure.ts';
import { answerHello, type ConnectionKeys, Hello } from './handshake.ts';
import { SEALING_LIMITS } from './limits.ts';
import { RecordOpener } from './record-opener.ts';
import { giveBack, RecordSealer } from './record-sealer.ts';
import { recordCipher } from './registry.ts';

/** For the two directions of one connection. */
export interface SealedEnds {
  readonly sealer: RecordSealer;
  readonly opener: RecordOpener;
}

export class Sealing {
  readonly encryption: Encryption;
  /** What it did of either, over all connections. */
  readonly sealed: TransformMeasure;
  readonly opened: TransformMeasure;
  readonly #side: 'source' | 'destination';

  constructor(side: 'source' | 'destination', encryption: Encryption) {
    this.#side = side;
    this.encryption = encryption;
    const name = encryptionName(encryption) ?? '';
    this.sealed = new TransformMeasure('encryption', name);
    this.opened = new TransformMeasure('encryption', name);
  }

  /** What seals and opens a connection's records from now on; undefined where frames go as they are. */
  ends(keys: ConnectionKeys): SealedEnds | undefined {
    const { toDestination, toSource } = keys;
    const isSource = this.#side === 'source';
    const sealing = recordCipher(this.encryption, isSource ? toDestination : toSource);
    const opening = recordCipher(this.encryption, isSource ? toSource : toDestination);
    if (sealing === undefined || opening === undefined) return undefined;
    const { sourceRecordBytesMax: pages, destinationRecordBytesMax: heads } = SEALING_LIMITS;
    return {
      sealer: new RecordSealer(sealing, isSource ? pages : heads, this.sealed),
      opener: new RecordOpener(opening, isSource ? heads : pages, this.opened),
    };
  }
}

const REHEARSAL_RECORDS = 100;
const REHEARSAL_BYTES = 10_000;

/**
 * A connection without a network, from HELLO to records in both directions: afterwards this code is compiled,
 * and the ciphers are loaded. To be called by a thread that has nothing to do yet.
 */
export function rehearseSealing(): void {
  const ticket: Ticket = {
    ...{ migration: '', guest: '', epoch: 0n, source: '', destination: '', expiresAtMs: 0 },
    secret: Buffer.alloc(SEALING_LIMITS.keyBytes),
  };
  const encryption = Encryption.ENCRYPTION_AES_256_GCM;
  const terms = { ticket, encryption, channel: 0, pageCount: 0, binding: new Uint8Array(0) };
  const hello = new Hello(terms);
  const { welcome, keys } = answerHello(terms, hello.greeting);
  const near = new Sealing('source', encryption).ends(keys);
  const far = new Sealing('destination', encryption).ends(hello.welcomed(welcome));
  if (near === undefined || far === undefined) return;
  const head = Buffer.alloc(64);
  const payload = Buffer.alloc(REHEARSAL_BYTES);
  for (let count = 0; count < REHEARSAL_RECORDS; count++) {
    pass(near.sealer.seal(head, payload), far.opener);
    pass(far.sealer.seal(head), near.opener);
  }
}

function pass(records: Iterable<Uint8Array[]>, opener: RecordOpener): void {
  for (const record of records) {
    for (const piece of record) {
      opener.space().set(piece);
      opener.filled(piece.byteLength);
      giveBack(piece);
    }
    const opened = opener.next();
    if (opened.kind !== 'record') throw new Error(`a rehearsal of sealing: ${opened.kind}`);
    giveBack(opened.bytes);
  }
}
