/**
 * What a workload sees of its guest: pages that it writes and reads. It is all that workloads/ knows of a
 * host, so that the same workload runs over a software page table, without one (the benchmark of the write
 * barrier), or over a plain array in a test.
 */

export interface GuestMemory {
  readonly pageCount: number;
  /**
   * One page write: the vCPU's next version of its lane of the page (stamp.ts) goes into the page. `page` is
   * a whole number from 0 to pageCount - 1; it is not checked, since this is the hot path.
   */
  write(page: number): void;
  /** Reads the vCPU's lane of a page; answers its version. */
  read(page: number): number;
}
