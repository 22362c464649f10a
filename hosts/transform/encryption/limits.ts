/** The limits of sealed connections in one place. docs/wire.md is their description. */

const KIBIBYTE = 1024;

export const SEALING_LIMITS = {
  /** Bytes of a key, of a ticket's secret, of a public key of X25519, and of a proof. */
  keyBytes: 32,
  /** Poly1305's and GCM's, which are never cut. */
  tagBytes: 16,
  /** In front of a record: the length of what follows, and its crc32. */
  prefixBytes: 8,
  /**
   * What one record holds at most of the stream, by who seals it. The source's holds a frame of pages whole
   * (docs/performance.md has the measurement); the destination sends heads alone.
   */
  sourceRecordBytesMax: 1024 * KIBIBYTE + 4 * KIBIBYTE,
  destinationRecordBytesMax: 4 * KIBIBYTE,
  /** What may be read beyond a record's end at once: small ones then cost one read for several. */
  lookaheadBytes: 16 * KIBIBYTE,
  /** Smaller pieces are left to the garbage collector: giving one back costs more than it saves. */
  givenBackBytesMin: 4 * KIBIBYTE,
  /** A migration with more connections, all by holders of its ticket, is no migration. */
  handshakesMax: 65_536,
} as const;
