/** A pre-copy of rounds as somebody writes them down, for rules that only look at rounds. */

import { DecisionLog } from '../../../hosts/migration/precopy/decision-log.ts';
import type { PrecopyView } from '../../../hosts/migration/precopy/precopy-view.ts';
import { RoundsEnd } from '../../../hosts/migration/precopy/rounds-end.ts';
import { SwitchRequest } from '../../../hosts/migration/switch-request.ts';
import { DEFAULT_CONVERGENCE } from '../../../proto/convergence.ts';
import {
  type Convergence,
  type MigrationOptions,
  RoundReport,
} from '../../../proto/generated/godwit/v1/migration.ts';
import { defaultMigrationOptions } from '../../../proto/migration-options.ts';
import { PAGE_BYTES } from '../../../proto/page.ts';

export interface Round {
  /** Pages that it sent. */
  readonly sent: number;
  /** Pages that were dirty at its end. */
  readonly left: number;
  readonly ms?: number;
  /** As it is estimated at its end; 0: not known. */
  readonly bandwidthPagesPerS?: number;
  /** Pages that it was to send; those that were skipped in it are among them. */
  readonly had?: number;
}

export const MEMORY_PAGES = 100_000;
const ACCEPTED_AT_MS = 5000;
const MS_PER_S = 1000;

export function optionsWith(
  convergence: Partial<Convergence>,
  changes: Partial<MigrationOptions> = {},
): MigrationOptions {
  const options = defaultMigrationOptions('pre-copy');
  return { ...options, convergence: { ...DEFAULT_CONVERGENCE, ...convergence }, ...changes };
}

/** One migration's rounds, and what its end says to them. */
export class Rounds {
  readonly log = new DecisionLog();
  readonly said: string[] = [];
  readonly request = new SwitchRequest();
  readonly end: RoundsEnd;
  readonly #reports: RoundReport[] = [];
  #nowMs = ACCEPTED_AT_MS;
  #sentPages = 0;

  constructor(options: MigrationOptions, memoryBytes = MEMORY_PAGES * PAGE_BYTES) {
    const { log, request: switchRequest, said } = this;
    const say = (note: string): void => {
      said.push(note);
    };
    this.end = new RoundsEnd({
      ...{ options, acceptedAtMs: ACCEPTED_AT_MS, memoryBytes, switchRequest, log, say },
    });
  }

  get count(): number {
    return this.#reports.length;
  }

  /** What rules did, with the figures that they set. */
  get decided(): string[] {
    return this.log.decisions.map(({ rule, what }) => `${rule}: ${what}`);
  }

  /** Does a round; answers whether it was the last. */
  next({ sent, left, ms = MS_PER_S, bandwidthPagesPerS = 10_000, had = sent }: Round): boolean {
    this.#nowMs += ms;
    this.#sentPages += sent;
    const dirtyRatePagesPerS = (left / ms) * MS_PER_S;
    const round = this.#reports.length + 1;
    this.#reports.push(
      RoundReport.fromPartial({
        ...{ round, pages: BigInt(sent), dirtyPagesAfter: BigInt(left) },
        ...{ durationMs: ms, dirtyRatePagesPerS },
      }),
    );
    const view: PrecopyView = {
      ...{ nowMs: this.#nowMs, acceptedAtMs: ACCEPTED_AT_MS, pageCount: MEMORY_PAGES },
      ...{ rounds: this.#reports, round, roundStartMs: this.#nowMs - ms },
      ...{ roundPages: had, sentPages: this.#sentPages },
      ...{ sentBytes: this.#sentPages * PAGE_BYTES, dirtyPages: left },
      ...{ bandwidthBytesPerS: bandwidthPagesPerS * PAGE_BYTES, dirtyRatePagesPerS, pageBytes: PAGE_BYTES },
    };
    return this.end.decide(view);
  }

  /** Does rounds until one is the last; answers how many, and why; undefined when none was. */
  run(rounds: readonly Round[]): [number, string] | undefined {
    for (const round of rounds) if (this.next(round)) return [this.count, this.end.reason];
    return undefined;
  }

  /** In the middle of a round, after so long: whether it is to end there. */
  isCutAt(elapsedMs: number, pendingPages: number): boolean {
    return this.end.endsRound({
      ...{ nowMs: ACCEPTED_AT_MS + elapsedMs, round: this.count + 1 },
      ...{ pageCount: MEMORY_PAGES, sentPages: this.#sentPages, pendingPages: () => pendingPages },
    });
  }
}

/** Rounds in which the guest leaves so many pages, each sent in the next. */
export function leaving(lefts: readonly number[], changes: Partial<Round> = {}): Round[] {
  return lefts.map((left, index) => ({ sent: lefts[index - 1] ?? MEMORY_PAGES, left, ...changes }));
}
