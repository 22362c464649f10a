/** What seals one record after the other in one direction of a connection, with one key; and opens them. */

export interface RecordCipher {
  /**
   * Seals what `parts` hold together.
   *
   * @param index of the record in its direction, from 0: makes its nonce, so never twice with one key
   * @param parts may be guest memory that changes meanwhile: what is sealed is some version of it, and the tag is
   *   of what was sealed
   * @returns the record in pieces; its bytes are the parts' and a tag of 16. Their memory is the caller's
   */
  seal(index: number, parts: readonly Uint8Array[]): Uint8Array[];

  /** What a record holds, in memory that is the caller's; undefined when it is not what was sealed as this one. */
  open(index: number, record: Uint8Array): Uint8Array | undefined;
}
