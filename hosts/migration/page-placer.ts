/**
 * Puts the pages that arrive on a channel in their place: a frame of one data run is read straight into guest memory,
 * gathered runs come through a staging buffer, and what transforms have made less of is restored from it.
 */

import type { PageDecoder } from '../transform/page-decoder.ts';
import { WIRE_LIMITS } from './limits.ts';
import type { ReceivedMemory } from './received-memory.ts';
import { contentBytesOf, type PageFrame, RunKind } from './wire.ts';

export class PagePlacer {
  readonly #memory: ReceivedMemory;
  readonly #decoder: PageDecoder;
  readonly #staging = Buffer.allocUnsafeSlow(WIRE_LIMITS.codedBytesMax);

  /**
   * @param memory the guest's, the same for all channels
   * @param decoder the migration's
   */
  constructor(memory: ReceivedMemory, decoder: PageDecoder) {
    this.#memory = memory;
    this.#decoder = decoder;
  }

  /** Where the payload of a frame is to be read. */
  target({ type, runs, payloadBytes }: PageFrame): Uint8Array {
    const [run] = runs;
    if (type === 'CODED' || runs.length > 1 || run === undefined) {
      return this.#staging.subarray(0, payloadBytes);
    }
    return this.#memory.open(run.firstPage, payloadBytes === 0 ? 0 : run.pageCount);
  }

  /** The payload is where `target` said. @throws WireViolation for one that cannot be what it says */
  place(frame: PageFrame): void {
    const { type, runs, payloadBytes } = frame;
    if (type === 'CODED') {
      this.#decoder.place(frame, this.#staging.subarray(0, payloadBytes));
      return;
    }
    let staged = 0;
    for (const run of runs) {
      if (run.kind === RunKind.ZERO) {
        this.#memory.clear(run.firstPage, run.pageCount);
      } else if (runs.length > 1) {
        const bytes = contentBytesOf({ runs: [run] });
        // Not Buffer.copy: it takes its offsets modulo 4 GiB (Node 24).
        this.#memory.open(run.firstPage, run.pageCount).set(this.#staging.subarray(staged, staged + bytes));
        staged += bytes;
      }
    }
  }
}
