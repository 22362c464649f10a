/**
 * What every transform of pages between the search for zeroes and the compression offers. A stage works in the source's
 * mover, on one batch after the other.
 */

import type { TransformReport } from '../../proto/generated/godwit/v1/migration.ts';
import type { PageBatch } from './page-batch.ts';

export interface TransformStage {
  /**
   * A round begins: these pages were collected, and are sent again until it ends. What the destination holds of
   * them is not what they hold now.
   */
  roundBegins(pages: Uint32Array): void;

  /** Everything that was sent before is in place at the destination, on every channel. */
  roundEnded(): void;

  /**
   * Takes pages out of the batch's DATA. Each page that is sent comes by here, but for those that the destination
   * demands after the switch; also pages of zeroes (`zeroRuns`), and those that an earlier stage has claimed.
   * Batches of a channel are sent in the order in which they come by.
   */
  claim(batch: PageBatch): void;

  /** What it did so far. */
  report(): TransformReport;
}
