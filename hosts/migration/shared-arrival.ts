/**
 * The destination's part of deduplication across guests: offers what other guests of this host hold, takes from them
 * what comes as a digest, and asks for what none of them has.
 */

import { setImmediate } from 'node:timers/promises';
import type { TransformReport } from '../../proto/generated/godwit/v1/migration.ts';
import { DigestRestorer } from '../transform/digest-restorer.ts';
import { type LentContents, type LentGuest, OtherGuests } from '../transform/other-guests.ts';
import type { ChannelSender } from './channel-sender.ts';
import { MOVER_LIMITS, WIRE_LIMITS } from './limits.ts';
import type { ReceivedMemory } from './received-memory.ts';
import { channelOf, type PageFrame, RunKind } from './wire.ts';

const HASH_BYTES = 8;

export class SharedArrival {
  readonly restorer: DigestRestorer;
  readonly #received: ReceivedMemory;
  readonly #others: OtherGuests;
  readonly #channelCount: number;

  constructor(lent: LentContents, received: ReceivedMemory, channelCount: number) {
    this.#received = received;
    this.#others = new OtherGuests(lent);
    this.restorer = new DigestRestorer(received, this.#others);
    this.#channelCount = channelCount;
  }

  /** Another guest of this host may be looked into from now on. */
  guestCame(guest: LentGuest): void {
    this.#others.came(guest);
  }

  /** Another guest of this host is no more. */
  guestGone(id: number): void {
    this.#others.gone(id);
  }

  /** The pages of a frame are in place. Others may want the contents that have come as they are. */
  placed({ runs }: PageFrame): void {
    this.restorer.measure.during(() => {
      for (const { firstPage, pageCount, kind } of runs) {
        if (kind !== RunKind.DATA) continue;
        for (let page = firstPage; page < firstPage + pageCount; page++) {
          this.#others.placed(page, this.#received.pages(page, 1));
        }
      }
    });
  }

  /** What the comparison with other guests did here. */
  report(): TransformReport {
    return this.restorer.measure.report();
  }

  /** Tells the source the hashes of what other guests here hold: hints, that may be past when they are used. */
  async offer(main: ChannelSender): Promise<void> {
    const part = Buffer.alloc(WIRE_LIMITS.offeredHashesMax * HASH_BYTES);
    let filled = 0;
    let pages = 0;
    for (const hash of this.#others.hashes(MOVER_LIMITS.offeredPagesMax)) {
      if (++pages % MOVER_LIMITS.offeredPagesAtOnce === 0) await setImmediate();
      if (hash === undefined) continue;
      part.writeUInt32LE(hash.low, filled);
      filled = part.writeUInt32LE(hash.high, filled + HASH_BYTES / 2);
      if (filled < part.byteLength) continue;
      main.send('OFFER', { hashes: part });
      filled = 0;
    }
    if (filled > 0) main.send('OFFER', { hashes: part.subarray(0, filled) });
  }

  /** A round has ended on a channel: asks for the pages of it that nobody here has. */
  roundEnded(channel: number, sender: ChannelSender): void {
    const wanted = this.restorer.roundEnded((page) => channelOf(page, this.#channelCount) === channel);
    for (let start = 0; start < wanted.length; start += WIRE_LIMITS.wantedPagesMax) {
      sender.send('WANTED', { pages: wanted.slice(start, start + WIRE_LIMITS.wantedPagesMax) });
    }
  }
}
