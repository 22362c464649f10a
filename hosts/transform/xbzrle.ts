/**
 * XBZRLE, QEMU's encoding of what changed in a page (docs/xbzrle.txt there; Svärd et al., VEE 2011): pairs of
 * an unchanged run's length and a changed run's length with its bytes, lengths as ULEB128. What is unchanged
 * behind the last changed run is not told. So a page that did not change has an empty encoding.
 */

import { PAGE_BYTES } from '../../proto/page.ts';

/** What `encodeXbzrle` answers when the encoding would be longer than its room: the page goes as it is. */
export const XBZRLE_OVERFLOW = -1;

const WORD_BYTES = 4;
/** A length of a page at most has one byte of ULEB128 below this, and two from here on. */
const TWO_BYTE_LENGTH = 128;
const LOW_BITS = 0x7f;

/**
 * Writes what changed from `previous` to `current`, both a page, to the start of `into`.
 *
 * @returns the encoding's length in bytes, or XBZRLE_OVERFLOW when it does not fit; `into` is garbage then
 */
export function encodeXbzrle(previous: Uint8Array, current: Uint8Array, into: Uint8Array): number {
  const before = viewOf(previous);
  const after = viewOf(current);
  let length = 0;
  let position = 0;
  for (;;) {
    const changedAt = firstChange(before, after, position);
    if (changedAt === PAGE_BYTES) return length;
    let end = changedAt + 1;
    while (end < PAGE_BYTES && previous[end] !== current[end]) end++;
    const changedBytes = end - changedAt;
    const needed = lengthBytes(changedAt - position) + lengthBytes(changedBytes) + changedBytes;
    if (length + needed > into.byteLength) return XBZRLE_OVERFLOW;
    length = putLength(into, length, changedAt - position);
    length = putLength(into, length, changedBytes);
    for (let index = changedAt; index < end; index++) into[length++] = current[index] as number;
    position = end;
  }
}

/**
 * What is wrong with an encoding that came from outside, or undefined: then applyXbzrle writes within the page
 * and reads within the encoding. As QEMU does it refuses empty runs, but for an unchanged one at the start.
 */
export function xbzrleProblem(encoding: Uint8Array): string | undefined {
  let offset = 0;
  let position = 0;
  while (offset < encoding.byteLength) {
    const unchanged = readLength(encoding, offset);
    if (unchanged === undefined) return 'an unchanged run has no length';
    if (unchanged === 0 && offset > 0) return 'an unchanged run is empty';
    offset += lengthSize(encoding, offset);
    const changed = readLength(encoding, offset);
    if (changed === undefined) return 'a changed run has no length';
    if (changed === 0) return 'a changed run is empty';
    offset += lengthSize(encoding, offset);
    position += unchanged + changed;
    offset += changed;
    if (position > PAGE_BYTES) return `it ends at byte ${position} of a page of ${PAGE_BYTES}`;
    if (offset > encoding.byteLength) return `it lacks ${offset - encoding.byteLength} bytes`;
  }
  return undefined;
}

/** Makes the page that was encoded of the one that it was encoded against. The encoding has no problem. */
export function applyXbzrle(encoding: Uint8Array, page: Uint8Array): void {
  let offset = 0;
  let position = 0;
  while (offset < encoding.byteLength) {
    position += readLength(encoding, offset) as number;
    offset += lengthSize(encoding, offset);
    const changed = readLength(encoding, offset) as number;
    offset += lengthSize(encoding, offset);
    page.set(encoding.subarray(offset, offset + changed), position);
    position += changed;
    offset += changed;
  }
}

/** The first byte from `start` on that differs, or PAGE_BYTES. Four bytes at once where a word begins. */
function firstChange(before: DataView, after: DataView, start: number): number {
  let position = start;
  while (position < PAGE_BYTES) {
    if (position % WORD_BYTES === 0) {
      while (position < PAGE_BYTES && before.getInt32(position) === after.getInt32(position)) {
        position += WORD_BYTES;
      }
      if (position === PAGE_BYTES) break;
    }
    if (before.getUint8(position) !== after.getUint8(position)) break;
    position++;
  }
  return position;
}

function viewOf(page: Uint8Array): DataView {
  return new DataView(page.buffer, page.byteOffset, PAGE_BYTES);
}

function lengthBytes(length: number): number {
  return length < TWO_BYTE_LENGTH ? 1 : 2;
}

/** Answers where the next byte goes. */
function putLength(into: Uint8Array, offset: number, length: number): number {
  if (length < TWO_BYTE_LENGTH) {
    into[offset] = length;
    return offset + 1;
  }
  into[offset] = (length & LOW_BITS) | TWO_BYTE_LENGTH;
  into[offset + 1] = length >>> 7;
  return offset + 2;
}

/** The length at an offset; undefined when it is cut off, or longer than the two bytes that a page needs. */
function readLength(encoding: Uint8Array, offset: number): number | undefined {
  const low = encoding[offset];
  if (low === undefined || low < TWO_BYTE_LENGTH) return low;
  const high = encoding[offset + 1];
  if (high === undefined || high >= TWO_BYTE_LENGTH) return undefined;
  return (low & LOW_BITS) | (high << 7);
}

function lengthSize(encoding: Uint8Array, offset: number): number {
  return (encoding[offset] as number) < TWO_BYTE_LENGTH ? 1 : 2;
}
