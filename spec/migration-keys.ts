/** Which keys of a spec's migration say something, given its techniques and its push. The others are refused. */

import type { Technique } from '../proto/names.ts';
import type { Spec } from './schema.ts';

export type MigrationKey = Exclude<keyof Spec['migration'], 'technique' | 'from' | 'to' | 'all-at-once'>;

/** stop-and-copy takes pre-copy's keys, so that the one can be put in the other's place; they change nothing. */
const ROUNDS: readonly Technique[] = ['stop-and-copy', 'pre-copy', 'hybrid'];
const SWITCHED: readonly Technique[] = ['post-copy', 'hybrid'];
const ALL: readonly Technique[] = [...ROUNDS, 'post-copy'];

const USED_BY: Readonly<Record<MigrationKey, readonly Technique[]>> = {
  channels: ALL,
  'downtime-limit': ROUNDS,
  'max-bandwidth': ROUNDS,
  'limit-final-round': ROUNDS,
  'max-rounds': ROUNDS,
  'min-dirty-pages': ROUNDS,
  'total-time-limit': ALL,
  'on-timeout': ['stop-and-copy', 'pre-copy'],
  push: SWITCHED,
  pivots: SWITCHED,
  bubble: SWITCHED,
  'accessed-first': SWITCHED,
  'postcopy-preempt': SWITCHED,
  'max-postcopy-bandwidth': SWITCHED,
  'recovery-limit': SWITCHED,
  'switch-after-rounds': ['hybrid'],
  'switch-after-share': ['hybrid'],
  'switch-after': ['hybrid'],
  'hot-set': ['hybrid'],
  transforms: ALL,
  failpoints: ALL,
};

const MIGRATION_KEYS = Object.keys(USED_BY) as MigrationKey[];

type Push = Spec['migration']['push'];

/** The keys that at least one of the techniques uses. */
export function migrationKeys(techniques: readonly Technique[], push: Push): MigrationKey[] {
  return MIGRATION_KEYS.filter((key) => techniques.some((technique) => uses(technique, key, push)));
}

/** The keys that the file has and that none of its techniques uses. */
export function unusedMigrationKeys(
  techniques: readonly Technique[],
  push: Push,
  written: readonly string[],
): MigrationKey[] {
  const used = migrationKeys(techniques, push);
  return MIGRATION_KEYS.filter((key) => written.includes(key) && !used.includes(key));
}

/** Whether techniques push anything. */
export function hasPush(techniques: readonly Technique[]): boolean {
  return techniques.some((technique) => SWITCHED.includes(technique));
}

function uses(technique: Technique, key: MigrationKey, push: Push): boolean {
  if (!USED_BY[key].includes(technique)) return false;
  if (key === 'pivots' || key === 'bubble') return push === 'bubbling';
  if (key === 'accessed-first' || key === 'max-postcopy-bandwidth') return push !== 'none';
  // Post-copy ends by itself when everything is pushed.
  return key !== 'total-time-limit' || technique !== 'post-copy' || push === 'none';
}
