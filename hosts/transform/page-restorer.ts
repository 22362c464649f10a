/** What the destination offers for each kind of body that a stage of the source makes. */

import type { BodyKind } from './page-batch.ts';

export interface PageRestorer {
  /**
   * Checks a page's body, before anything of its frame is placed.
   *
   * @param payload the decoded one of the frame; the body begins at `offset`, and the payload may end in it
   * @returns where the body ends, within the payload
   * @throws WireViolation
   */
  check(page: number, payload: Buffer, offset: number): number;

  /**
   * Makes the page from its body, which was checked. Pages are placed in the order of their frame, so a body may
   * refer to those before it. @returns where the body ends
   */
  place(page: number, payload: Buffer, offset: number): number;
}

/** The restorers of a migration; kinds that its transforms do not make have none, and are refused. */
export type PageRestorers = Readonly<Partial<Record<BodyKind, PageRestorer>>>;
