/** What a codec is: one file each beside this one, and a line in registry.ts. A codec works on a batch at a time. */

import type { WireCodec } from '../../migration/wire.ts';

export interface Codec {
  /** What the other side needs to decode it. Several codecs may make the same. */
  readonly wire: WireCodec;
  /** @param level one of its CODEC_LEVELS; without meaning for a codec that has none */
  encode(bytes: Uint8Array, level: number): Uint8Array;
  /**
   * @param decodedBytes the size of what it was
   * @throws for what is none of its own, or is not of this size; nothing larger is ever made
   */
  decode(bytes: Uint8Array, decodedBytes: number): Uint8Array;
}
