/**
 * How a vCPU keeps to its schedule. Guest time is the time during which the guest ran: pauses are left out
 * and not caught up afterwards. A vCPU that woke up late, or was not given a processor for a moment, catches
 * up, so that the rate does not drift; what it is behind by more than BACKLOG_MS_MAX is forgotten: guest time
 * then stands still until the vCPU has come near. So it holds at any speed of the machine that dueBy(guest
 * time - BACKLOG_MS_MAX) <= units done <= dueBy(guest time), up to the units of the last operation.
 */

import type { Schedule } from '../../workloads/schedule.ts';
import { BACKLOG_MS_MAX, SLEEP_MS_MAX, SLEEP_MS_MIN } from './limits.ts';

/** How near to the next due time a sleep ends. */
const SLEEP_PRECISION_MS = 0.1;

/** What of a pacer travels with the guest. */
export interface PacerState {
  readonly guestTimeMs: number;
  /** The latest guest time at which nothing that was due was undone. */
  readonly caughtUpMs: number;
  readonly unitsDone: number;
}

export class Pacer {
  readonly #schedule: Schedule;
  #guestTimeMs = 0;
  #caughtUpMs = 0;
  #unitsDone = 0;
  #clockMs = 0;

  constructor(schedule: Schedule) {
    this.#schedule = schedule;
  }

  /** The guest goes on at this time of the clock, after a pause or for the first time. */
  start(clockMs: number): void {
    this.#clockMs = clockMs;
  }

  /** The guest has run until this time of the clock. */
  advance(clockMs: number): void {
    const guestTimeMs = this.#guestTimeMs + (clockMs - this.#clockMs);
    this.#clockMs = clockMs;
    this.#guestTimeMs = Math.min(guestTimeMs, this.#caughtUpMs + BACKLOG_MS_MAX);
  }

  /** The time during which the guest ran. */
  get guestTimeMs(): number {
    return this.#guestTimeMs;
  }

  /** How many units are due and not done; Infinity when there is no rate. */
  backlog(): number {
    const due = this.#schedule.dueBy(this.#guestTimeMs);
    if (due === Number.POSITIVE_INFINITY || due <= this.#unitsDone) this.#caughtUpMs = this.#guestTimeMs;
    return due - this.#unitsDone;
  }

  done(units: number): void {
    this.#unitsDone += units;
  }

  /** How long nothing is due, as far as it is worth to sleep. Nothing is due now. */
  sleepMs(): number {
    let idleMs = SLEEP_MS_MAX;
    if (this.#dueAfter(idleMs)) {
      let low = 0;
      while (idleMs - low > SLEEP_PRECISION_MS) {
        const middle = (low + idleMs) / 2;
        if (this.#dueAfter(middle)) idleMs = middle;
        else low = middle;
      }
      this.#caughtUpMs = this.#guestTimeMs + low;
    } else {
      this.#caughtUpMs = this.#guestTimeMs + idleMs;
    }
    return Math.max(idleMs, SLEEP_MS_MIN);
  }

  #dueAfter(durationMs: number): boolean {
    return this.#schedule.dueBy(this.#guestTimeMs + durationMs) > this.#unitsDone;
  }

  save(): PacerState {
    return {
      guestTimeMs: this.#guestTimeMs,
      caughtUpMs: Math.min(this.#caughtUpMs, this.#guestTimeMs),
      unitsDone: this.#unitsDone,
    };
  }

  load(state: PacerState): void {
    this.#guestTimeMs = state.guestTimeMs;
    this.#caughtUpMs = state.caughtUpMs;
    this.#unitsDone = state.unitsDone;
  }
}
