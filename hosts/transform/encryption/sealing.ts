/** One side's sealing of a migration: what it does with each connection's keys, and what it cost. */

import type { Encryption } from '../../../proto/generated/godwit/v1/migration.ts';
import { encryptionName } from '../../../proto/transforms.ts';
import { TransformMeasure } from '../transform-measure.ts';
import type { ConnectionKeys } from './handshake.ts';
import { SEALING_LIMITS } from './limits.ts';
import { RecordOpener } from './record-opener.ts';
import { RecordSealer } from './record-sealer.ts';
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
