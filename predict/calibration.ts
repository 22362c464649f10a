/**
 * What a migration costs besides its pages, and how far off predictions have been. The formulas and numbers below were
 * measured between two process hosts on loopback and over the relay at 200 Mbit/s to 1 Gbit/s, with guests of 16 to
 * 128 MiB (bench/predict.ts has the same mixes). A machine differs from another, and from itself an hour ago: so each
 * of them has a factor that is learned from the migrations that were predicted.
 */

import { TECHNIQUES, type Technique } from '../proto/names.ts';

/** What may be learned of a technique. */
export const TERMS = ['setup', 'link', 'push', 'lead', 'pause', 'tail', 'fault'] as const;
export type Term = (typeof TERMS)[number];

/** How a term differs from its formula: by this factor, and the factor by so much, both as they were lately. */
export interface Factor {
  readonly value: number;
  /** How far single ones were off it, as a share. */
  readonly spread: number;
}

export type Calibration = Readonly<Record<Technique, Readonly<Record<Term, Factor>>>>;

/** Terms of one migration; undefined for those that it did not have. */
export type Terms = Readonly<Partial<Record<Term, number | undefined>>>;

/** What is known before anything was learned: the formulas' own residuals. */
const FIRST_SPREADS: Readonly<Record<Term, number>> = {
  setup: 0.5,
  link: 0.03,
  push: 0.06,
  lead: 0.5,
  pause: 0.35,
  tail: 0.5,
  fault: 0.6,
};
/** The weight of what was just seen. */
const NEWEST = 0.25;
/** One migration that met a stalled machine teaches no more than this. */
const FACTOR_MIN = 0.2;
const FACTOR_MAX = 5;

/** No migration has been seen. */
export function firstCalibration(): Calibration {
  const factors = Object.fromEntries(
    TERMS.map((term): [Term, Factor] => [term, { value: 1, spread: FIRST_SPREADS[term] }]),
  ) as Record<Term, Factor>;
  return Object.fromEntries(TECHNIQUES.map((technique) => [technique, factors])) as Calibration;
}

/**
 * What is known after a migration.
 *
 * @param expected the terms as the formulas have them, without factors
 */
export function learned(
  calibration: Calibration,
  technique: Technique,
  expected: Terms,
  measured: Terms,
): Calibration {
  const factors = { ...calibration[technique] };
  for (const term of TERMS) {
    const [formula, value] = [expected[term], measured[term]];
    if (formula === undefined || value === undefined || !(formula > 0) || !(value > 0)) continue;
    const seen = Math.min(FACTOR_MAX, Math.max(FACTOR_MIN, value / formula));
    const { value: before, spread } = factors[term];
    // A factor works on ratios: twice and half are as far from once.
    const now = before * (seen / before) ** NEWEST;
    const off = Math.abs(Math.log(seen / before));
    factors[term] = {
      value: now,
      spread: Math.max(FIRST_SPREADS[term] / 4, spread + NEWEST * (off - spread)),
    };
  }
  return { ...calibration, [technique]: factors };
}

/** What the formulas need of a guest and its link. */
export interface Setting {
  readonly memoryBytes: number;
  readonly roundTripMs: number;
}

const BYTES_PER_MIB = 1024 ** 2;

/** Connections, greetings and keys, and memory that the destination makes; post-copy's also makes its fault table. */
const SETUP_MS: Readonly<Record<Technique, { readonly base: number; readonly perMib: number }>> = {
  'stop-and-copy': { base: 16, perMib: 0.02 },
  'pre-copy': { base: 18, perMib: 0.02 },
  'post-copy': { base: 105, perMib: 0.05 },
  hybrid: { base: 105, perMib: 0.05 },
};
/** TCP, HELLO and the proof of the ticket, one after the other. */
const SETUP_ROUND_TRIPS = 4;
/** From the last round's end to the pause: the witness writes down that the guest is about to be handed over. */
const LEAD_MS = 4.5;
/** What a pause takes without pages and without a link. */
const PAUSE_MS = 4.5;
/** The final pages, READY and COMMIT travel after each other, one way each. */
const PAUSE_ROUND_TRIPS = 1.5;
/** From the guest's first step there to its last trace here. */
const TAIL_MS = 4;
/** RESUMED travels. */
const TAIL_ROUND_TRIPS = 0.5;
/** Of the link, what the push gets: it leaves room for demanded pages; and how long it feels its way at first. */
const PUSH_SHARE = 0.97;
export const PUSH_START_MS = 25;
/** What waking threads at both ends adds to a fault's way through the link. */
const FAULT_MS = 2.4;
const FAULT_ROUND_TRIPS = 1;

/** Milliseconds of each term by its formula; `link` and `push` are shares of the probed bandwidth. */
export function formulas(technique: Technique, { memoryBytes, roundTripMs }: Setting): Record<Term, number> {
  const mib = memoryBytes / BYTES_PER_MIB;
  const setup = SETUP_MS[technique];
  return {
    setup: setup.base + setup.perMib * mib + SETUP_ROUND_TRIPS * roundTripMs,
    link: 1,
    push: PUSH_SHARE,
    lead: LEAD_MS,
    pause: PAUSE_MS + PAUSE_ROUND_TRIPS * roundTripMs,
    tail: TAIL_MS + TAIL_ROUND_TRIPS * roundTripMs,
    fault: FAULT_MS + FAULT_ROUND_TRIPS * roundTripMs,
  };
}
