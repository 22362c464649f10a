/**
 * What the source believes of its link and its guest: bandwidth, dirty rate, expected downtime. The rules that
 * decide by them are in precopy/.
 *
 * What the link gives now is measured while rounds run (link-estimator.ts) and counts first. Where that is not known,
 * since nothing waited for the link, the rounds' bandwidth counts.
 *
 * A round's bandwidth is its bytes over the time from its start to the last channel's ROUND_DONE: the link's,
 * not that of the buffers on the way. QEMU measures over windows of 100 ms. A round may be shorter, and then
 * its time is mostly the way there and back: so the estimate covers the newest rounds that together lasted
 * 100 ms, or all. So does that of what a page costs on the wire, which transforms make less than a page.
 */

import { PAGE_BYTES } from '../../proto/page.ts';

const WINDOW_MS = 100;
const MS_PER_S = 1000;

/** What is known of the link as it is now. */
export interface LinkNow {
  /** Undefined while it is not known. */
  readonly bandwidthBytesPerS: number | undefined;
}

export class Estimates {
  readonly #link: LinkNow | undefined;
  /** The newest rounds' bytes and times, newest last. */
  #window: { readonly bytes: number; readonly durationMs: number; readonly dataPages: number }[] = [];
  #bandwidthBytesPerS = 0;
  #pageBytes: number = PAGE_BYTES;
  #dirtyRatePagesPerS = 0;

  /** @param link what it gives now counts before what the rounds were given */
  constructor(link?: LinkNow) {
    this.#link = link;
  }

  /** Bytes per second: of the link as it is now where that is known, else of the rounds; 0 while nothing is known. */
  get bandwidthBytesPerS(): number {
    return this.#link?.bandwidthBytesPerS ?? this.#bandwidthBytesPerS;
  }

  /** Distinct pages that became dirty per second of the last round. */
  get dirtyRatePagesPerS(): number {
    return this.#dirtyRatePagesPerS;
  }

  /** Bytes on the wire of a page that is not of zeroes; at most a page. */
  get pageBytes(): number {
    return this.#pageBytes;
  }

  /**
   * Takes a round's measurements in.
   *
   * @param bytes what the round sent
   * @param durationMs from its start to its last ROUND_DONE
   * @param dirtyPages distinct pages that became dirty meanwhile
   * @param dataPages that it sent, those of zeroes apart
   */
  addRound(bytes: number, durationMs: number, dirtyPages: number, dataPages: number): void {
    const round = { bytes, durationMs: Math.max(durationMs, Number.EPSILON), dataPages };
    this.#dirtyRatePagesPerS = (dirtyPages / round.durationMs) * MS_PER_S;
    const window = [round];
    let windowMs = round.durationMs;
    let windowBytes = bytes;
    let windowPages = dataPages;
    for (const older of this.#window.toReversed()) {
      if (windowMs >= WINDOW_MS) break;
      window.unshift(older);
      windowMs += older.durationMs;
      windowBytes += older.bytes;
      windowPages += older.dataPages;
    }
    this.#window = window;
    if (windowPages > 0) this.#pageBytes = Math.min(windowBytes / windowPages, PAGE_BYTES);
    this.#bandwidthBytesPerS = (windowBytes / windowMs) * MS_PER_S;
  }

  /** How long the pages would take, ms; undefined while that is not known. */
  expectedDowntimeMs(pageCount: number): number | undefined {
    return expectedDowntimeMs(pageCount, this.#pageBytes, this.bandwidthBytesPerS);
  }
}

/**
 * How long pages would take, ms: 0 of none, and undefined, never 0, of some while the bandwidth is not known.
 *
 * @param pageBytes what a page costs on the wire
 * @param bandwidthBytesPerS 0 while it is not known
 */
export function expectedDowntimeMs(
  pageCount: number,
  pageBytes: number,
  bandwidthBytesPerS: number,
): number | undefined {
  if (pageCount === 0) return 0;
  return bandwidthBytesPerS > 0 ? ((pageCount * pageBytes) / bandwidthBytesPerS) * MS_PER_S : undefined;
}

/**
 * The time to the end of an iterative migration, ms: what is to be sent now, then ever smaller rounds in a
 * geometric series.
 *
 * @param pageBytes what a page costs on the wire
 * @returns 0 while it is not known, -1 when the guest dirties pages as fast as they can be sent
 */
export function remainingMs(
  pages: number,
  pageBytes: number,
  bandwidthBytesPerS: number,
  dirtyRatePagesPerS: number,
): number {
  if (!(bandwidthBytesPerS > 0)) return 0;
  const ratio = (dirtyRatePagesPerS * pageBytes) / bandwidthBytesPerS;
  if (ratio >= 1) return -1;
  return (((pages * pageBytes) / bandwidthBytesPerS) * MS_PER_S) / (1 - ratio);
}
