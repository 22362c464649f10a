/**
 * Deduplication: a page whose content the destination has, or will have by then, goes as a word about where.
 * Within the guest that is the number of another page (twins.ts). Across guests it is the content's digest,
 * which the destination looks up among the pages of its guests; should it have none, it wants the page, which
 * then comes in the next round. So what is believed here about other guests costs bytes when it is wrong, and
 * nothing else.
 */

import { PAGE_BYTES } from '../../proto/page.ts';
import type { PageTable } from '../guest/page-table.ts';
import { RunKind } from '../migration/wire.ts';
import { CONTENT_NAME_BYTES, nameContent } from './content-name.ts';
import { MovePhase, type PageBatch } from './page-batch.ts';
import { type HashPage, hashPage, type PageHash } from './page-hash.ts';
import type { SentContents } from './sent-contents.ts';
import type { TransformStage } from './stage.ts';
import { TransformMeasure } from './transform-measure.ts';
import { NO_TWIN, Twins } from './twins.ts';

const REFERENCE_BYTES = 4;

/** In `#digestRounds`: none that the destination may still refuse. */
const NONE = 0;

export interface DedupParts {
  /** For people: guest, gang or host. */
  readonly scope: string;
  /** The guest's. */
  readonly memory: SharedArrayBuffer;
  readonly pageTable: PageTable;
  readonly channelOf: (page: number) => number;
  /** What the destination may have of other guests; what the gang has sent is entered by each of it. */
  readonly gang: SentContents | undefined;
  readonly offered: SentContents | undefined;
  /** Another than XXH64 for a test. */
  readonly hashPage?: HashPage;
}

export class Dedup implements TransformStage {
  readonly #twins: Twins;
  readonly #gang: SentContents | undefined;
  readonly #offered: SentContents | undefined;
  readonly #hashPage: HashPage;
  /**
   * The round in which each page last went as a digest, of which hash (low, high), and whether one was ever
   * refused.
   */
  readonly #digestRounds: Uint32Array;
  readonly #digestHashes: Uint32Array;
  readonly #wasRefused: Uint8Array;
  readonly #measure: TransformMeasure;
  readonly #hash: PageHash = { low: 0, high: 0 };
  #round = 0;
  /** The round of which the destination may still want pages. */
  #refusable: number = NONE;

  constructor({ scope, memory, pageTable, channelOf, gang, offered, hashPage: other }: DedupParts) {
    this.#twins = new Twins(memory, pageTable, channelOf);
    this.#gang = gang;
    this.#offered = offered;
    this.#hashPage = other ?? hashPage;
    const isShared = gang !== undefined || offered !== undefined;
    const pageCount = isShared ? pageTable.pageCount : 0;
    this.#digestRounds = new Uint32Array(pageCount);
    this.#digestHashes = new Uint32Array(2 * pageCount);
    this.#wasRefused = new Uint8Array(pageCount);
    this.#measure = new TransformMeasure('dedup', scope);
  }

  roundBegins(pages: Uint32Array): void {
    this.#refusable = ++this.#round;
    this.#twins.collected(pages);
  }

  roundEnded(): void {
    this.#refusable = NONE;
  }

  claim(batch: PageBatch): void {
    // The guest writes its pages at the destination now, and nothing can be asked back.
    if (batch.phase === MovePhase.SWITCHED) return;
    this.#measure.during(() => {
      for (let index = 0; index < batch.size; index++) this.#claimPage(batch, index);
    });
  }

  /** The destination has not got the content whose digest it was sent. */
  refused(page: number): boolean {
    if (this.#refusable === NONE || this.#digestRounds[page] !== this.#refusable) return false;
    this.#digestRounds[page] = NONE;
    this.#wasRefused[page] = 1;
    const hashes = this.#digestHashes;
    const hash = { low: hashes[2 * page] as number, high: hashes[2 * page + 1] as number };
    this.#gang?.delete(hash);
    this.#offered?.delete(hash);
    this.#measure.hits--;
    this.#measure.misses++;
    return true;
  }

  report(): ReturnType<TransformStage['report']> {
    return this.#measure.report();
  }

  #claimPage(batch: PageBatch, index: number): void {
    const measure = this.#measure;
    const page = batch.page(index);
    const content = batch.content(index);
    const hash = this.#hash;
    this.#hashPage(content, hash);
    measure.pagesIn++;
    measure.bytesIn += PAGE_BYTES;
    const twin = this.#twins.find(page, content, hash, this.#round);
    if (twin !== NO_TWIN) {
      const body = Buffer.allocUnsafe(REFERENCE_BYTES);
      body.writeUInt32LE(twin);
      batch.claim(index, RunKind.COPY, body);
    } else if (batch.phase === MovePhase.RUNNING && this.#isElsewhere(page, hash)) {
      this.#digestRounds[page] = this.#round;
      this.#digestHashes[2 * page] = hash.low;
      this.#digestHashes[2 * page + 1] = hash.high;
      batch.claim(index, RunKind.DIGEST, nameContent(content, hash));
      measure.hits++;
      measure.bytesOut += CONTENT_NAME_BYTES;
      // Nobody knows yet whether the destination has it: no twin for others.
      return;
    }
    this.#twins.sent(page, this.#round);
    this.#twins.offer(page, hash);
    if (twin === NO_TWIN) this.#gang?.add(hash);
    if (twin === NO_TWIN) measure.misses++;
    else measure.hits++;
    measure.bytesOut += twin === NO_TWIN ? PAGE_BYTES : REFERENCE_BYTES;
  }

  /**
   * Whether another guest's pages at the destination may hold it. A page whose digest was refused once goes
   * itself.
   */
  #isElsewhere(page: number, hash: PageHash): boolean {
    if (this.#wasRefused[page] === 1) return false;
    return this.#gang?.has(hash) === true || this.#offered?.has(hash) === true;
  }
}
