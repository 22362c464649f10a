/**
 * In which order post-copy's source sends unasked what the destination lacks. An order only chooses: whoever sends a
 * page takes it out of the set of unsent pages, whether it was pushed or demanded, so each is sent once.
 */

export interface PushOrder {
  /**
   * The unsent page to push now, or undefined when nothing is to be pushed. The same again until it has left the set.
   */
  next(): number | undefined;
  /** The guest needs a page: the push goes on from there. Also for a page that is on its way already. */
  demanded(page: number): void;
}
