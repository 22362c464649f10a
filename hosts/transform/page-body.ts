/** The bounds of a page's body in a payload that came from outside. */

import { WireViolation } from '../migration/channel-receiver.ts';

/**
 * Where a body of so many bytes ends.
 *
 * @param what it is, for the error
 * @throws WireViolation when the payload ends before
 */
export function bodyEnd(what: string, page: number, payload: Buffer, offset: number, bytes: number): number {
  const end = offset + bytes;
  if (end <= payload.byteLength) return end;
  const lacking = end - payload.byteLength;
  throw new WireViolation(`the ${what} of page ${page} lacks ${lacking} of ${bytes} bytes`);
}
