/** A migration's options in the form in which people write them, and several variants' as one section of a spec. */

import { convergenceOf } from '../proto/convergence.ts';
import {
  FailpointAction,
  type MigrationOptions,
  OnTimeout,
  PostcopyBubble,
  PostcopyPush,
  PostcopyRecovery,
} from '../proto/generated/godwit/v1/migration.ts';
import type { TechniqueAsked } from '../proto/names.ts';
import { transformsOf } from '../proto/transforms.ts';
import { plainConvergence, plainGoal } from './convergence-section.ts';
import { type Deciding, type MigrationKey, migrationKeys, usesKey } from './migration-keys.ts';
import type { Plain, PlainMapping } from './plain-values.ts';
import type { ON_TIMEOUT } from './schema.ts';
import { plainTransforms } from './transforms-section.ts';
import { bandwidth, duration } from './units.ts';

type PlainOptions = Record<MigrationKey, Plain> & Deciding;

/** The section from which these options come: a key in which they differ has a list. */
export function plainMigration(options: readonly MigrationOptions[]): PlainMapping {
  const all = options.map(plainOptions);
  const mapping: PlainMapping = { technique: distinct(all.map(({ technique }) => technique)) };
  for (const key of migrationKeys(all)) {
    const values = distinct(all.filter((each) => usesKey(each, key)).map((each) => each[key]));
    mapping[key] = values.length === 1 ? values[0]! : values;
  }
  const goal = options.find((each) => each.goal !== undefined)?.goal;
  if (goal !== undefined) mapping.goal = plainGoal(goal);
  return mapping;
}

/** Each value once, in the order in which they come first. */
function distinct(values: readonly Plain[]): Plain[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}

/** Every key's value, whether it says something or not. */
export function plainOptions(options: MigrationOptions): PlainOptions {
  return {
    technique: options.technique as TechniqueAsked,
    channels: options.channels,
    'downtime-limit': duration.format(options.downtimeLimitMs),
    'max-bandwidth': bandwidth.format(options.maxBandwidthBytesPerS),
    'limit-final-round': options.limitFinalRound,
    'max-rounds': options.maxRounds,
    'min-dirty-pages': Number(options.minDirtyPages),
    'total-time-limit': duration.format(options.totalTimeLimitMs),
    'on-timeout': plainOnTimeout(options.onTimeout),
    ...plainConvergence(convergenceOf(options)),
    failpoints: options.failpoints.map(({ point, action, durationMs }): PlainMapping => {
      if (action === FailpointAction.FAILPOINT_ACTION_KILL) return { at: point, do: 'kill' };
      return { at: point, do: 'delay', for: duration.format(durationMs) };
    }),
    push: plainPush(options.push),
    pivots: options.pivots,
    bubble: options.bubble === PostcopyBubble.POSTCOPY_BUBBLE_FORWARD ? 'forward' : 'dual',
    'accessed-first': options.accessedFirst,
    'postcopy-preempt': options.postcopyPreempt,
    'max-postcopy-bandwidth': bandwidth.format(options.maxPostcopyBandwidthBytesPerS),
    recovery: options.recovery === PostcopyRecovery.POSTCOPY_RECOVERY_MANUAL ? 'manual' : 'automatic',
    'recovery-limit': duration.format(options.recoveryLimitMs),
    'switch-after-rounds': options.switchAfterRounds,
    'switch-after-share': options.switchAfterShare,
    'switch-after': duration.format(options.switchAfterMs),
    'hot-set': options.hotSet,
    transforms: plainTransforms(transformsOf(options)),
  };
}

function plainOnTimeout(onTimeout: OnTimeout): (typeof ON_TIMEOUT)[number] {
  if (onTimeout === OnTimeout.ON_TIMEOUT_ABORT) return 'abort';
  return onTimeout === OnTimeout.ON_TIMEOUT_POST_COPY ? 'post-copy' : 'stop-and-copy';
}

function plainPush(push: PostcopyPush): Deciding['push'] {
  if (push === PostcopyPush.POSTCOPY_PUSH_NONE) return 'none';
  return push === PostcopyPush.POSTCOPY_PUSH_BUBBLING ? 'bubbling' : 'sequential';
}
