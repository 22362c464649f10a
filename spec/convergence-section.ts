/**
 * What a spec's migration says about how its rounds are steered, and what `auto` chooses for: the keys, and both ways
 * between them and the contract. docs/decisions.md.
 */

import { z } from 'zod';
import {
  BANDWIDTH_RULES,
  DEFAULT_CONVERGENCE as DEFAULTS,
  DOWNTIME_RAMPS,
  FREE_PAGES,
  CONVERGENCE_LIMITS as LIMITS,
  type RuleNames,
  SKIPS,
  STOP_RULES,
  THROTTLES,
} from '../proto/convergence.ts';
import type { Convergence, Goal } from '../proto/generated/godwit/v1/migration.ts';
import { choice, flag, integer, listable, quantity, section } from './fields.ts';
import type { PlainMapping } from './plain-values.ts';
import type { BrokenRule } from './problems.ts';
import { bandwidth, duration } from './units.ts';

/** A max-bandwidth that is none: what others leave of the link is taken. */
const ADAPTIVE = 'adaptive';

/** A max-bandwidth, or that word. */
export function orAdaptive<Schema extends z.ZodType>(schema: Schema) {
  return z.union([schema, z.literal(ADAPTIVE)], {
    error: ({ errors }: z.core.$ZodRawIssue<z.core.$ZodIssueInvalidUnion>) =>
      `${errors[0]?.[0]?.message}, or ${ADAPTIVE}`,
  });
}

/** Every value of a max-bandwidth as the contract has it. */
export function maxBandwidthBytesPerS(value: number | typeof ADAPTIVE): number {
  return value === ADAPTIVE ? 0 : value;
}

/** Two keys that say different things of what is taken of the link. @param written the keys that the file has */
export function bandwidthRules(
  migration: { readonly 'max-bandwidth': unknown; readonly 'bandwidth-rule': unknown },
  written: readonly string[],
): BrokenRule[] {
  const rule = migration['bandwidth-rule'];
  const isSaid = written.includes('bandwidth-rule') && rule !== 'delay';
  if (migration['max-bandwidth'] !== ADAPTIVE || !isSaid) return [];
  const message =
    `found ${String(rule)}, and max-bandwidth says ${ADAPTIVE}, which is delay; allowed is delay here, ` +
    'or another max-bandwidth';
  return [{ path: ['migration', 'bandwidth-rule'], message, because: [['migration', 'max-bandwidth']] }];
}

const percent = (min: number) => {
  const error = `a number of percent from ${min} to 99`;
  return z.number({ error }).min(min, { error }).max(99, { error });
};
const timeout = () => listable(quantity(duration, 0, LIMITS.timeoutMsMax));
const anyBandwidth = (min: number, max: number) => quantity(bandwidth, min, max);

/** Keys of `migration`; each may be a list. */
export const convergenceKeys = {
  'stop-rule': listable(choice(STOP_RULES.names))
    .default('downtime-limit')
    .describe(
      "When the rounds end: QEMU's rule, Xen's, Clark's, CloudNet's, p.haul's, KubeVirt's, or fixed.",
    ),
  'downtime-ramp': listable(choice(DOWNTIME_RAMPS.names))
    .default('none')
    .describe('Whether the downtime limit grows in steps to what downtime-limit says.'),
  'downtime-ramp-step': timeout()
    .prefault(duration.format(DEFAULTS.downtimeRampStepMs))
    .describe("The ramp's time between two steps; nova: for each GiB of memory; 0: the product's own."),
  'stall-progress-timeout': listable(
    quantity(duration, LIMITS.stallProgressTimeoutMsMin, LIMITS.timeoutMsMax),
  )
    .prefault(duration.format(DEFAULTS.stallProgressTimeoutMs))
    .describe('stall-detector: the window in which what remains must become less.'),
  throttle: listable(choice(THROTTLES.names))
    .default('none')
    .describe('How a guest is slowed that dirties its memory faster than it can be sent.'),
  'throttle-trigger-threshold': listable(percent(1))
    .default(DEFAULTS.throttleTriggerThreshold)
    .describe('All but sdps: too much is dirtied when it is so many percent of what was sent.'),
  'throttle-period': listable(quantity(duration, LIMITS.throttlePeriodMsMin, LIMITS.throttlePeriodMsMax))
    .prefault(duration.format(DEFAULTS.throttlePeriodMs))
    .describe('All but sdps: the least time between two looks at what was dirtied.'),
  'cpu-throttle-initial': listable(percent(1))
    .default(DEFAULTS.cpuThrottleInitial)
    .describe('auto-converge: percent of the time that vCPUs stand still at first.'),
  'cpu-throttle-increment': listable(percent(1))
    .default(DEFAULTS.cpuThrottleIncrement)
    .describe('auto-converge: and so much more each time.'),
  'max-cpu-throttle': listable(percent(1))
    .default(DEFAULTS.maxCpuThrottle)
    .describe('auto-converge: percent at most.'),
  'cpu-throttle-tailslow': listable(flag())
    .default(DEFAULTS.cpuThrottleTailslow)
    .describe('auto-converge: smaller steps near the end.'),
  'vcpu-dirty-limit': listable(anyBandwidth(LIMITS.dirtyLimitBytesPerSMin, LIMITS.dirtyLimitBytesPerSMax))
    .prefault(bandwidth.format(DEFAULTS.vcpuDirtyLimitBytesPerS))
    .describe('dirty-limit: what each vCPU may dirty.'),
  'stun-quota': listable(integer(1, LIMITS.stunQuotaMax))
    .default(DEFAULTS.stunQuota)
    .describe('stunning: write faults that a vCPU may take before it waits.'),
  skip: listable(choice(SKIPS.names))
    .default('none')
    .describe('Which pages of a round are left for later: those dirty again, and those of the working set.'),
  'dirty-last': listable(flag())
    .default(DEFAULTS.dirtyLast)
    .describe('Within a round, send those pages last that are most likely to be written.'),
  'free-pages': listable(choice(FREE_PAGES.names))
    .default('none')
    .describe('What becomes of pages that are free in the guest: sent, left out by hints, or given back.'),
  'bandwidth-rule': listable(choice(BANDWIDTH_RULES.names))
    .default('fixed')
    .describe("What is taken of the link: up to max-bandwidth, by Clark's rule, or what others leave."),
  'min-bandwidth': listable(anyBandwidth(LIMITS.bandwidthBytesPerSMin, LIMITS.bandwidthBytesPerSMax))
    .prefault(bandwidth.format(DEFAULTS.minBandwidthBytesPerS))
    .describe('clark: what the first round takes of the link.'),
  'completion-timeout-per-gib': timeout()
    .prefault(duration.format(DEFAULTS.completionTimeoutPerGibMs))
    .describe('After this time for each GiB of memory on-timeout is done; 0: not by this.'),
  'progress-timeout': timeout()
    .prefault(duration.format(DEFAULTS.progressTimeoutMs))
    .describe('When what remains has not become less for this time on-timeout is done; 0: not by this.'),
} as const;

export type ConvergenceKey = keyof typeof convergenceKeys;

/** One value for each key. */
export interface ConvergenceValues {
  readonly 'max-bandwidth'?: number | typeof ADAPTIVE;
  readonly 'stop-rule': (typeof STOP_RULES.names)[number];
  readonly 'downtime-ramp': (typeof DOWNTIME_RAMPS.names)[number];
  readonly 'downtime-ramp-step': number;
  readonly 'stall-progress-timeout': number;
  readonly throttle: (typeof THROTTLES.names)[number];
  readonly 'throttle-trigger-threshold': number;
  readonly 'throttle-period': number;
  readonly 'cpu-throttle-initial': number;
  readonly 'cpu-throttle-increment': number;
  readonly 'max-cpu-throttle': number;
  readonly 'cpu-throttle-tailslow': boolean;
  readonly 'vcpu-dirty-limit': number;
  readonly 'stun-quota': number;
  readonly skip: (typeof SKIPS.names)[number];
  readonly 'dirty-last': boolean;
  readonly 'free-pages': (typeof FREE_PAGES.names)[number];
  readonly 'bandwidth-rule': (typeof BANDWIDTH_RULES.names)[number];
  readonly 'min-bandwidth': number;
  readonly 'completion-timeout-per-gib': number;
  readonly 'progress-timeout': number;
}

/** As the contract has them. */
export function resolveConvergence(values: ConvergenceValues): Convergence {
  return {
    stopRule: STOP_RULES.of(values['stop-rule']),
    downtimeRamp: DOWNTIME_RAMPS.of(values['downtime-ramp']),
    downtimeRampStepMs: values['downtime-ramp-step'],
    stallProgressTimeoutMs: values['stall-progress-timeout'],
    throttle: THROTTLES.of(values.throttle),
    throttleTriggerThreshold: values['throttle-trigger-threshold'],
    throttlePeriodMs: values['throttle-period'],
    cpuThrottleInitial: values['cpu-throttle-initial'],
    cpuThrottleIncrement: values['cpu-throttle-increment'],
    maxCpuThrottle: values['max-cpu-throttle'],
    cpuThrottleTailslow: values['cpu-throttle-tailslow'],
    vcpuDirtyLimitBytesPerS: values['vcpu-dirty-limit'],
    stunQuota: values['stun-quota'],
    skip: SKIPS.of(values.skip),
    dirtyLast: values['dirty-last'],
    freePages: FREE_PAGES.of(values['free-pages']),
    bandwidthRule: BANDWIDTH_RULES.of(
      values['max-bandwidth'] === ADAPTIVE ? 'delay' : values['bandwidth-rule'],
    ),
    minBandwidthBytesPerS: values['min-bandwidth'],
    completionTimeoutPerGibMs: values['completion-timeout-per-gib'],
    progressTimeoutMs: values['progress-timeout'],
  };
}

/** As people write them. */
export function plainConvergence(convergence: Readonly<Convergence>) {
  const text = <Name extends string>(rules: RuleNames<Name, number>, value: number): Name =>
    rules.nameOf(value) ?? rules.names[0];
  return {
    'stop-rule': text(STOP_RULES, convergence.stopRule),
    'downtime-ramp': text(DOWNTIME_RAMPS, convergence.downtimeRamp),
    'downtime-ramp-step': duration.format(convergence.downtimeRampStepMs),
    'stall-progress-timeout': duration.format(convergence.stallProgressTimeoutMs),
    throttle: text(THROTTLES, convergence.throttle),
    'throttle-trigger-threshold': convergence.throttleTriggerThreshold,
    'throttle-period': duration.format(convergence.throttlePeriodMs),
    'cpu-throttle-initial': convergence.cpuThrottleInitial,
    'cpu-throttle-increment': convergence.cpuThrottleIncrement,
    'max-cpu-throttle': convergence.maxCpuThrottle,
    'cpu-throttle-tailslow': convergence.cpuThrottleTailslow,
    'vcpu-dirty-limit': bandwidth.format(convergence.vcpuDirtyLimitBytesPerS),
    'stun-quota': convergence.stunQuota,
    skip: text(SKIPS, convergence.skip),
    'dirty-last': convergence.dirtyLast,
    'free-pages': text(FREE_PAGES, convergence.freePages),
    'bandwidth-rule': text(BANDWIDTH_RULES, convergence.bandwidthRule),
    'min-bandwidth': bandwidth.format(convergence.minBandwidthBytesPerS),
    'completion-timeout-per-gib': duration.format(convergence.completionTimeoutPerGibMs),
    'progress-timeout': duration.format(convergence.progressTimeoutMs),
  } satisfies Record<ConvergenceKey, unknown>;
}

type DecidingKey = 'stop-rule' | 'downtime-ramp' | 'throttle' | 'bandwidth-rule';

/** Of these keys, each says something only where another has one of these values, and that says something itself. */
const DECIDED_BY: Partial<Record<ConvergenceKey, readonly [DecidingKey, readonly string[]]>> = {
  // Those that ask what the downtime limit is.
  'downtime-ramp': ['stop-rule', ['downtime-limit', 'stall-detector']],
  'downtime-ramp-step': ['downtime-ramp', ['nova', 'kubevirt']],
  'stall-progress-timeout': ['stop-rule', ['stall-detector']],
  'throttle-trigger-threshold': ['throttle', ['auto-converge', 'dirty-limit', 'stunning']],
  'throttle-period': ['throttle', ['auto-converge', 'dirty-limit', 'stunning']],
  'cpu-throttle-initial': ['throttle', ['auto-converge']],
  'cpu-throttle-increment': ['throttle', ['auto-converge']],
  'max-cpu-throttle': ['throttle', ['auto-converge']],
  'cpu-throttle-tailslow': ['throttle', ['auto-converge']],
  'vcpu-dirty-limit': ['throttle', ['dirty-limit']],
  'stun-quota': ['throttle', ['stunning']],
  'min-bandwidth': ['bandwidth-rule', ['clark']],
};

/** The key whose value decides whether this one says anything; undefined when only the technique does. */
export function deciderOf(key: ConvergenceKey): DecidingKey | undefined {
  return DECIDED_BY[key]?.[0];
}

/** What a key of another rule than the one that is set would promise in vain. */
export function saysSomething(key: ConvergenceKey, values: Readonly<Record<DecidingKey, string>>): boolean {
  const [decider, allowed] = DECIDED_BY[key] ?? [];
  if (decider === undefined) return true;
  return allowed?.includes(values[decider]) === true && saysSomething(decider, values);
}

export const goalSection = section({
  'max-downtime': quantity(duration, 0, LIMITS.timeoutMsMax)
    .prefault(duration.format(0))
    .describe('0: no such limit.'),
  'max-total-time': quantity(duration, 0, LIMITS.timeoutMsMax)
    .prefault(duration.format(0))
    .describe('0: no such limit.'),
  'max-degradation': percent(0).default(0).describe("Of the guest's operations, percent; 0: no such limit."),
  'may-lose-on-link-failure': flag()
    .default(false)
    .describe('Whether a technique may be chosen with which a lost link or source loses the guest.'),
})
  .optional()
  .describe('auto: what technique and parameters are chosen for.');

type GoalValues = NonNullable<z.output<typeof goalSection>>;

/** As the contract has it. */
export function resolveGoal(values: GoalValues): Goal {
  return {
    maxDowntimeMs: values['max-downtime'],
    maxTotalTimeMs: values['max-total-time'],
    maxDegradationPercent: values['max-degradation'],
    mayLoseOnLinkFailure: values['may-lose-on-link-failure'],
  };
}

/** As people write it. */
export function plainGoal(goal: Readonly<Goal>): PlainMapping {
  return {
    'max-downtime': duration.format(goal.maxDowntimeMs),
    'max-total-time': duration.format(goal.maxTotalTimeMs),
    'max-degradation': goal.maxDegradationPercent,
    'may-lose-on-link-failure': goal.mayLoseOnLinkFailure,
  };
}
