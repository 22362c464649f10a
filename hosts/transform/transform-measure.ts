/**
 * What one transform did: counts, and the CPU time and time of its thread. The clocks are read around whole batches:
 * reading them costs a microsecond.
 */

import type { CodecReport, TransformReport } from '../../proto/generated/godwit/v1/migration.ts';
import { nowMs } from '../clock.ts';

const US_PER_S = 1_000_000;

type Counts = Record<
  'pagesIn' | 'bytesIn' | 'bytesOut' | 'hits' | 'misses' | 'overflows' | 'cacheBytes' | 'cpuS' | 'timeMs',
  number
>;

/** The work of a piece of code. */
export interface Cost {
  readonly cpuS: number;
  readonly timeMs: number;
}

export class TransformMeasure implements Counts {
  pagesIn = 0;
  bytesIn = 0;
  bytesOut = 0;
  hits = 0;
  misses = 0;
  overflows = 0;
  cacheBytes = 0;
  cpuS = 0;
  timeMs = 0;
  readonly #name: string;
  readonly #variant: string;

  /** @param variant which of its kind; empty where there is only one */
  constructor(name: string, variant: string) {
    this.#name = name;
    this.#variant = variant;
  }

  /** Does some work, and counts what it cost. */
  during<T>(work: () => T): T {
    const { result, cost } = costOf(work);
    this.add(cost);
    return result;
  }

  add({ cpuS, timeMs }: Cost): void {
    this.cpuS += cpuS;
    this.timeMs += timeMs;
  }

  report(codecs: CodecReport[] = []): TransformReport {
    return {
      name: this.#name,
      variant: this.#variant,
      pagesIn: BigInt(this.pagesIn),
      bytesIn: BigInt(this.bytesIn),
      bytesOut: BigInt(this.bytesOut),
      cpuS: this.cpuS,
      timeMs: this.timeMs,
      hits: BigInt(this.hits),
      misses: BigInt(this.misses),
      overflows: BigInt(this.overflows),
      cacheBytes: BigInt(this.cacheBytes),
      codecs,
    };
  }
}

/** What some work on this thread answers, and what it cost. */
export function costOf<T>(work: () => T): { readonly result: T; readonly cost: Cost } {
  const startMs = nowMs();
  const start = process.threadCpuUsage();
  const result = work();
  const { user, system } = process.threadCpuUsage(start);
  return { result, cost: { cpuS: (user + system) / US_PER_S, timeMs: nowMs() - startMs } };
}
