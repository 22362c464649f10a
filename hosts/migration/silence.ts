/**
 * Waiting for the other side: every wait on the wire ends by what it waits for, by the end of the migration,
 * or because the other side has given no sign of life for too long. A slow link is no silence: each byte that
 * moves is a sign.
 */

import { nowMs } from '../clock.ts';

export class Silence {
  readonly #limitMs: number;
  readonly #signal: AbortSignal;
  readonly #who: string;
  #lastSignMs = nowMs();

  /**
   * @param who the other side, for the error: 'the destination'
   * @param limitMs the longest silence while something is owed
   * @param signal ends every wait with its reason
   */
  constructor(who: string, limitMs: number, signal: AbortSignal) {
    this.#who = who;
    this.#limitMs = limitMs;
    this.#signal = signal;
  }

  /** A sign of life came. */
  touch(): void {
    this.#lastSignMs = nowMs();
  }

  /**
   * What `promise` answers. The silence counts from now at the earliest: before, nothing was owed.
   *
   * @param what what the other side owes, for the error
   * @throws when it stays silent, or with the signal's reason
   */
  async during<T>(what: string, promise: Promise<T>): Promise<T> {
    this.#signal.throwIfAborted();
    this.touch();
    const ended = Promise.withResolvers<never>();
    const onAbort = (): void => ended.reject(reasonOf(this.#signal));
    this.#signal.addEventListener('abort', onAbort);
    let timer: NodeJS.Timeout | undefined;
    const watch = (): void => {
      const leftMs = this.#lastSignMs + this.#limitMs - nowMs();
      if (leftMs > 0) timer = setTimeout(watch, leftMs);
      else ended.reject(new Error(`${this.#who} has been silent for ${this.#limitMs} ms; it owes ${what}`));
    };
    timer = setTimeout(watch, this.#limitMs);
    try {
      return await Promise.race([promise, ended.promise]);
    } finally {
      clearTimeout(timer);
      this.#signal.removeEventListener('abort', onAbort);
    }
  }
}

/**
 * Waits for a time, or until `sooner` resolves.
 *
 * @throws the signal's reason when the migration ends
 */
export async function pauseFor(
  durationMs: number,
  signal: AbortSignal,
  sooner: Promise<void> = new Promise(() => {}),
): Promise<void> {
  try {
    await within(sooner, durationMs, signal);
  } catch (error) {
    if (!(error instanceof LateError)) throw error;
  }
}

/** What a promise answers, if it does so in time; with an infinite time only the signal ends the wait. */
export async function within<T>(promise: Promise<T>, durationMs: number, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const ended = Promise.withResolvers<never>();
  const onAbort = (): void => ended.reject(reasonOf(signal));
  const timer = Number.isFinite(durationMs)
    ? setTimeout(() => ended.reject(new LateError(durationMs)), durationMs)
    : undefined;
  signal.addEventListener('abort', onAbort);
  try {
    return await Promise.race([promise, ended.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

/** Nothing came in time. */
export class LateError extends Error {
  constructor(durationMs: number) {
    super(`nothing came within ${durationMs} ms`);
  }
}

function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason));
}
