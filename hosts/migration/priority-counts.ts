/**
 * What the thread for demanded pages has counted, in shared memory: that thread writes, the mover reads. Plain
 * doubles: what is counted for a page is stored before the page is marked as present, which is an atomic operation.
 */

export interface PriorityCounts {
  /** REQUESTs for a page. */
  requests: number;
  placedPages: number;
  receivedBytes: number;
  /** Of the sealed records: their bytes, what they held, and what it cost to open them. */
  sealedBytes: number;
  openedBytes: number;
  openingCpuS: number;
  openingMs: number;
}

const FIELDS = [
  ...(['requests', 'placedPages', 'receivedBytes'] as const),
  ...(['sealedBytes', 'openedBytes', 'openingCpuS', 'openingMs'] as const),
] satisfies (keyof PriorityCounts)[];

/** New counts of zero, or a view of those that another thread made. */
export function priorityCounts(
  shared = new SharedArrayBuffer(FIELDS.length * Float64Array.BYTES_PER_ELEMENT),
): PriorityCounts & { readonly shared: SharedArrayBuffer } {
  const values = new Float64Array(shared);
  const counts = { shared };
  for (const [index, field] of FIELDS.entries()) {
    Object.defineProperty(counts, field, {
      get: () => values[index],
      set: (value: number) => {
        values[index] = value;
      },
    });
  }
  return counts as ReturnType<typeof priorityCounts>;
}
