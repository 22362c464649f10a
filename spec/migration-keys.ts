/** Which keys of a spec's migration say something, given its technique, push and recovery. The others are refused. */

import { AUTO, type Technique, type TechniqueAsked } from '../proto/names.ts';
import {
  type ConvergenceKey,
  type ConvergenceValues,
  convergenceKeys,
  saysSomething,
} from './convergence-section.ts';
import type { PUSHES, RECOVERIES, Spec } from './schema.ts';

export type MigrationKey = Exclude<
  keyof Spec['migration'],
  'technique' | 'goal' | 'predict' | 'from' | 'to' | 'all-at-once'
>;

/** What decides which keys say something, each with one value. */
export interface Deciding {
  readonly technique: TechniqueAsked;
  readonly push: (typeof PUSHES)[number];
  readonly recovery: (typeof RECOVERIES)[number];
  readonly 'stop-rule': ConvergenceValues['stop-rule'];
  readonly 'downtime-ramp': ConvergenceValues['downtime-ramp'];
  readonly throttle: ConvergenceValues['throttle'];
  readonly 'bandwidth-rule': ConvergenceValues['bandwidth-rule'];
}

/** stop-and-copy takes pre-copy's keys, so that the one can be put in the other's place; they change nothing. */
const ROUNDS: readonly Technique[] = ['stop-and-copy', 'pre-copy', 'hybrid'];
const SWITCHED: readonly Technique[] = ['post-copy', 'hybrid'];
const ALL: readonly Technique[] = [...ROUNDS, 'post-copy'];

const CONVERGENCE_KEYS = Object.keys(convergenceKeys) as ConvergenceKey[];
const CONVERGENCE_USED_BY = Object.fromEntries(CONVERGENCE_KEYS.map((key) => [key, ROUNDS])) as Record<
  ConvergenceKey,
  readonly Technique[]
>;

const USED_BY: Readonly<Record<MigrationKey, readonly Technique[]>> = {
  channels: ALL,
  'downtime-limit': ROUNDS,
  'max-bandwidth': ROUNDS,
  'limit-final-round': ROUNDS,
  'max-rounds': ROUNDS,
  'min-dirty-pages': ROUNDS,
  'total-time-limit': ALL,
  'on-timeout': ['stop-and-copy', 'pre-copy'],
  ...CONVERGENCE_USED_BY,
  'free-pages': ALL,
  push: SWITCHED,
  pivots: SWITCHED,
  bubble: SWITCHED,
  'accessed-first': SWITCHED,
  'postcopy-preempt': SWITCHED,
  'max-postcopy-bandwidth': SWITCHED,
  recovery: SWITCHED,
  'recovery-limit': SWITCHED,
  'switch-after-rounds': ['hybrid'],
  'switch-after-share': ['hybrid'],
  'switch-after': ['hybrid'],
  'hot-set': ['hybrid'],
  transforms: ALL,
  failpoints: ALL,
};

export const MIGRATION_KEYS = Object.keys(USED_BY) as readonly MigrationKey[];
/** Besides the technique. */
export const DECIDING_KEYS: readonly MigrationKey[] = [
  ...(['push', 'recovery'] as const),
  ...(['stop-rule', 'downtime-ramp', 'throttle', 'bandwidth-rule'] as const),
];

/** The keys that at least one of these migrations uses. */
export function migrationKeys(migrations: readonly Deciding[]): MigrationKey[] {
  return MIGRATION_KEYS.filter((key) => migrations.some((migration) => usesKey(migration, key)));
}

/** Whether a technique pushes anything, or one that may be chosen does. */
export function hasPush(technique: TechniqueAsked): boolean {
  return technique === AUTO || SWITCHED.includes(technique);
}

/** Whether a key says something. */
export function usesKey(deciding: Deciding, key: MigrationKey): boolean {
  const { technique, push, recovery } = deciding;
  if (technique !== AUTO && !USED_BY[key].includes(technique)) return false;
  if (isConvergenceKey(key)) return saysSomething(key, deciding);
  if (key === 'pivots' || key === 'bubble') return push === 'bubbling';
  if (key === 'accessed-first' || key === 'max-postcopy-bandwidth') return push !== 'none';
  if (key === 'recovery-limit') return recovery === 'automatic';
  // Post-copy ends by itself when everything is pushed.
  return key !== 'total-time-limit' || technique !== 'post-copy' || push === 'none';
}

export function isConvergenceKey(key: MigrationKey): key is ConvergenceKey {
  return Object.hasOwn(convergenceKeys, key);
}
