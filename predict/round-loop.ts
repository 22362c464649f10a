/**
 * Replays the rounds of a pre-copy or hybrid over a guest's U(t), with the engine's own rules: a round's dirty
 * pages are those written during it, the bandwidth is the link's or that of the newest rounds that lasted 100 ms
 * together, and the rounds end by QEMU's rule, by their number, by the time, or by a hybrid's rules
 * (docs/metrics.md, `convergence`).
 */

import type { MigrationOptions } from '../proto/generated/godwit/v1/migration.ts';
import { PAGE_BYTES } from '../proto/page.ts';

/** What the replay knows of guest, link and machine. */
export interface RoundSetting {
  readonly pageCount: number;
  /** Of the first round; pages that are sent again have been written, and hold something. */
  readonly zeroPages: number;
  readonly wirePageBytes: number;
  readonly wireZeroBytes: number;
  /** While the guest runs. */
  readonly bytesPerS: number;
  /** Besides its bytes' time. */
  readonly roundMs: number;
  /** U(t), pages. */
  dirtyAfter(ms: number): number;
  /** Since the migration was accepted, when the first round begins. */
  readonly startMs: number;
}

export interface ReplayedRound {
  readonly pages: number;
  readonly bytes: number;
  readonly durationMs: number;
  readonly dirtyAfter: number;
}

export interface Replay {
  /** Those while the guest runs. */
  readonly rounds: readonly ReplayedRound[];
  /** Words of SourceReport.convergence. */
  readonly convergence: string;
  /** From the first round's start to the last one's end. */
  readonly durationMs: number;
}

/** A round this long fills the link, so that the engine sees what it gives (hosts/migration/link-estimator.ts). */
const FILLED_MS = 20;
/** Else its estimate covers so much (hosts/migration/estimates.ts). */
const WINDOW_MS = 100;
const MS_PER_S = 1000;

export function replayRounds(setting: RoundSetting, options: MigrationOptions): Replay {
  const rounds: ReplayedRound[] = [];
  let pages = setting.pageCount;
  let zeroPages = setting.zeroPages;
  let sentPages = 0;
  let durationMs = 0;
  for (;;) {
    const leftMs = timeLeftMs(options, setting.startMs + durationMs);
    const round = oneRound(
      setting,
      pages,
      zeroPages,
      leftMs,
      pagesLeft(options, setting.pageCount, sentPages),
    );
    rounds.push(round);
    durationMs += round.durationMs;
    sentPages += round.pages;
    const convergence = whyOver(options, setting, { rounds, sentPages, nowMs: setting.startMs + durationMs });
    if (convergence !== '') return { rounds, convergence, durationMs };
    pages = round.dirtyAfter;
    zeroPages = 0;
  }
}

function oneRound(
  setting: RoundSetting,
  pages: number,
  zeroPages: number,
  leftMs: number,
  pagesMax: number,
): ReplayedRound {
  const bytesOf = (share: number): number =>
    ((pages - zeroPages) * setting.wirePageBytes + zeroPages * setting.wireZeroBytes) * share;
  const wholeMs = setting.roundMs + (bytesOf(1) / setting.bytesPerS) * MS_PER_S;
  const share = Math.max(0, Math.min(1, leftMs / wholeMs, pages === 0 ? 1 : pagesMax / pages));
  const durationMs = setting.roundMs + (bytesOf(share) / setting.bytesPerS) * MS_PER_S;
  const dirtied = setting.dirtyAfter(durationMs);
  const unsent = pages * (1 - share);
  return {
    pages: pages * share,
    bytes: bytesOf(share),
    durationMs,
    // Of what was dirtied some had not been sent anyway.
    dirtyAfter: unsent + dirtied * (1 - unsent / setting.pageCount),
  };
}

/** Until what ends a round early by the time. */
function timeLeftMs({ technique, totalTimeLimitMs, switchAfterMs }: MigrationOptions, nowMs: number): number {
  const isHybrid = technique === 'hybrid' && switchAfterMs > 0;
  return Math.max(0, (isHybrid ? Math.min(totalTimeLimitMs, switchAfterMs) : totalTimeLimitMs) - nowMs);
}

/** Until a hybrid has sent its share. */
function pagesLeft(
  { technique, switchAfterShare }: MigrationOptions,
  pageCount: number,
  sentPages: number,
): number {
  if (technique !== 'hybrid' || switchAfterShare === 0) return Number.POSITIVE_INFINITY;
  return Math.max(0, switchAfterShare * pageCount - sentPages);
}

interface Standing {
  readonly rounds: readonly ReplayedRound[];
  readonly sentPages: number;
  readonly nowMs: number;
}

/** As the engine's rounds end (hosts/migration/precopy/rounds-end.ts), with its own stop rule. */
function whyOver(
  options: MigrationOptions,
  { pageCount, bytesPerS }: RoundSetting,
  { rounds, sentPages, nowMs }: Standing,
): string {
  const { switchAfterRounds, switchAfterShare, switchAfterMs } = options;
  if (options.technique === 'hybrid') {
    if (switchAfterShare > 0 && sentPages >= switchAfterShare * pageCount) return 'switch-after-share';
    if (switchAfterMs > 0 && nowMs >= switchAfterMs) return 'switch-after';
    if (switchAfterRounds > 0 && rounds.length >= switchAfterRounds) return 'switch-after-rounds';
  }
  if (fits(rounds, bytesPerS, options)) return 'converged';
  if (nowMs >= options.totalTimeLimitMs) return 'total-time-limit';
  return rounds.length >= options.maxRounds ? 'max-rounds' : '';
}

/** QEMU's rule, by what the link gives or, when the last round was too short to tell, what the newest rounds had. */
function fits(
  rounds: readonly ReplayedRound[],
  bytesPerS: number,
  { minDirtyPages, downtimeLimitMs }: MigrationOptions,
): boolean {
  const dirtyPages = Math.round(rounds.at(-1)!.dirtyAfter);
  if (dirtyPages <= Number(minDirtyPages)) return true;
  let [bytes, pages, durationMs] = [0, 0, 0];
  for (const round of rounds.toReversed()) {
    if (durationMs >= WINDOW_MS) break;
    bytes += round.bytes;
    pages += round.pages;
    durationMs += round.durationMs;
  }
  const pageBytes = pages === 0 ? PAGE_BYTES : Math.min(PAGE_BYTES, bytes / pages);
  const isFilled = (rounds.at(-1)!.bytes / bytesPerS) * MS_PER_S >= FILLED_MS;
  const bytesPerMs = isFilled ? bytesPerS / MS_PER_S : bytes / durationMs;
  return dirtyPages * pageBytes <= bytesPerMs * downtimeLimitMs;
}
