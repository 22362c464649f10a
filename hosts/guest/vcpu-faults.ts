/**
 * The vCPU's side of a fault: it touched a page that has not come yet, and sleeps until the mover (of
 * missing-pages.ts) has placed it. A vCPU has at most one fault, named in its word of the control block.
 *
 *   vCPU: 1. stores the page in its fault word       mover: a. places the page, marks it present
 *         2. loads the page's mark; present: done           b. loads the fault words; whoever waits for this
 *         3. rings, and sleeps on its fault word                page has it cleared, and is woken up
 *
 * Atomics have one order: either 1 comes before b, and the mover finds the fault, or a before 2, and the vCPU
 * finds the page. The same with the end of the guest: the word is stored, then the holds are looked at; who
 * ends the guest sets the hold, then changes the word. So no wake-up is lost. The mover that answers the bell
 * looks at all fault words, so one ring may stand for several faults.
 */

import { nowMs } from '../clock.ts';
import {
  ASLEEP,
  FAULT_BELL,
  faultedAtDouble,
  faultWord,
  HOLD,
  SharedTimes,
  SIGNAL,
} from './control-layout.ts';
import { FaultRecorder } from './fault-statistics.ts';
import type { PageTable } from './page-table.ts';
import type { SharedGuest } from './shared-guest.ts';
import type { VcpuControl } from './vcpu-control.ts';

/** The guest was ended while this vCPU waited for a page: its operation is left where it is. */
export class VcpuEnded extends Error {}

export class VcpuFaults {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #times: SharedTimes;
  readonly #recorder: FaultRecorder;
  readonly #pageTable: PageTable;
  readonly #control: VcpuControl;
  readonly #vcpu: number;
  readonly #vcpuCount: number;

  constructor(shared: SharedGuest, vcpu: number, pageTable: PageTable, control: VcpuControl) {
    this.#words = new Int32Array(shared.control);
    this.#times = new SharedTimes(shared.control);
    this.#recorder = new FaultRecorder(shared.faults, vcpu);
    this.#pageTable = pageTable;
    this.#control = control;
    this.#vcpu = vcpu;
    this.#vcpuCount = shared.spec.vcpuCount;
  }

  /** How long this vCPU has waited so far. */
  get waitedMs(): number {
    return this.#recorder.waitedMs;
  }

  /** Sleeps until the page is here and no hold is left. @throws VcpuEnded */
  await(page: number): void {
    const startMs = nowMs();
    this.#recorder.begin();
    this.#times.store(faultedAtDouble(this.#vcpu), startMs);
    Atomics.add(this.#words, ASLEEP, 1);
    this.#control.fault();
    this.#sleepUntilPresent(page);
    const endMs = nowMs();
    // All of them were asleep, and this is the first that is not: from the last one's falling asleep on.
    if (Atomics.sub(this.#words, ASLEEP, 1) === this.#vcpuCount) {
      this.#recorder.recordOverlap(Math.max(endMs - this.#lastFaultedAtMs(), 0));
    }
    this.#recorder.end(endMs - startMs);
    if (!this.#control.goOn()) throw new VcpuEnded();
  }

  #sleepUntilPresent(page: number): void {
    const word = faultWord(this.#vcpu);
    for (;;) {
      Atomics.store(this.#words, word, page + 1);
      if (this.#pageTable.isPresent(page) || (Atomics.load(this.#words, SIGNAL) & HOLD.STOP) !== 0) break;
      Atomics.add(this.#words, FAULT_BELL, 1);
      Atomics.notify(this.#words, FAULT_BELL);
      Atomics.wait(this.#words, word, page + 1);
    }
    Atomics.store(this.#words, word, 0);
  }

  #lastFaultedAtMs(): number {
    let lastMs = 0;
    for (let vcpu = 0; vcpu < this.#vcpuCount; vcpu++) {
      lastMs = Math.max(lastMs, this.#times.load(faultedAtDouble(vcpu)));
    }
    return lastMs;
  }
}
