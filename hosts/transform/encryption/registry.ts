/** The ciphers that a migration's options can ask for. */

import { Encryption } from '../../../proto/generated/godwit/v1/migration.ts';
import { NaclSecretbox } from './nacl-secretbox.ts';
import { NodeAead } from './node-aead.ts';
import type { RecordCipher } from './record-cipher.ts';

/** A cipher for one direction of one connection; undefined where frames go as they are, plain or through TLS. */
export function recordCipher(encryption: Encryption, key: Uint8Array): RecordCipher | undefined {
  switch (encryption) {
    case Encryption.ENCRYPTION_UNSPECIFIED:
    case Encryption.ENCRYPTION_AES_256_GCM:
      return new NodeAead('aes-256-gcm', key);
    case Encryption.ENCRYPTION_CHACHA20_POLY1305:
      return new NodeAead('chacha20-poly1305', key);
    case Encryption.ENCRYPTION_NACL_SECRETBOX:
      return new NaclSecretbox(key);
    case Encryption.ENCRYPTION_NONE:
    case Encryption.ENCRYPTION_TLS:
      return undefined;
  }
}
