/**
 * What Convergence and Goal may say: names, defaults, limits, and what is wrong with some. docs/decisions.md says what
 * each rule does and where it comes from.
 */

import {
  BandwidthRule,
  type Convergence,
  DowntimeRamp,
  FreePages,
  type Goal,
  type MigrationOptions,
  Skip,
  StopRule,
  Throttle,
} from './generated/godwit/v1/migration.ts';

const STOP_RULE_OF = {
  'downtime-limit': StopRule.STOP_RULE_DOWNTIME_LIMIT,
  xen: StopRule.STOP_RULE_XEN,
  'xen-v2': StopRule.STOP_RULE_XEN_V2,
  clark: StopRule.STOP_RULE_CLARK,
  'smart-stop': StopRule.STOP_RULE_SMART_STOP,
  phaul: StopRule.STOP_RULE_PHAUL,
  'stall-detector': StopRule.STOP_RULE_STALL_DETECTOR,
  'fixed-rounds': StopRule.STOP_RULE_FIXED_ROUNDS,
} as const;
const DOWNTIME_RAMP_OF = {
  none: DowntimeRamp.DOWNTIME_RAMP_NONE,
  nova: DowntimeRamp.DOWNTIME_RAMP_NOVA,
  kubevirt: DowntimeRamp.DOWNTIME_RAMP_KUBEVIRT,
} as const;
const THROTTLE_OF = {
  none: Throttle.THROTTLE_NONE,
  'auto-converge': Throttle.THROTTLE_AUTO_CONVERGE,
  'dirty-limit': Throttle.THROTTLE_DIRTY_LIMIT,
  sdps: Throttle.THROTTLE_SDPS,
  stunning: Throttle.THROTTLE_STUNNING,
} as const;
const SKIP_OF = {
  none: Skip.SKIP_NONE,
  'dirtied-again': Skip.SKIP_DIRTIED_AGAIN,
  'working-set': Skip.SKIP_WORKING_SET,
} as const;
const FREE_PAGES_OF = {
  none: FreePages.FREE_PAGES_NONE,
  hints: FreePages.FREE_PAGES_HINTS,
  balloon: FreePages.FREE_PAGES_BALLOON,
} as const;
const BANDWIDTH_RULE_OF = {
  fixed: BandwidthRule.BANDWIDTH_RULE_FIXED,
  clark: BandwidthRule.BANDWIDTH_RULE_CLARK,
  delay: BandwidthRule.BANDWIDTH_RULE_DELAY,
} as const;

/** A rule's names in specs, and its numbers in the contracts. */
export interface RuleNames<Name extends string, Value extends number> {
  readonly names: readonly [Name, ...Name[]];
  of(name: Name): Value;
  /** Undefined for a number that nobody knows. */
  nameOf(value: number): Name | undefined;
}

export function ruleNames<Name extends string, Value extends number>(
  values: Readonly<Record<Name, Value>>,
): RuleNames<Name, Value> {
  const names = Object.keys(values) as [Name, ...Name[]];
  return {
    names,
    of: (name) => values[name],
    nameOf: (value) => names.find((name) => values[name] === value),
  };
}

export const STOP_RULES = ruleNames(STOP_RULE_OF);
export const DOWNTIME_RAMPS = ruleNames(DOWNTIME_RAMP_OF);
export const THROTTLES = ruleNames(THROTTLE_OF);
export const SKIPS = ruleNames(SKIP_OF);
export const FREE_PAGES = ruleNames(FREE_PAGES_OF);
export const BANDWIDTH_RULES = ruleNames(BANDWIDTH_RULE_OF);
export type StopRuleName = keyof typeof STOP_RULE_OF;
export type DowntimeRampName = keyof typeof DOWNTIME_RAMP_OF;
export type ThrottleName = keyof typeof THROTTLE_OF;

/** Why the rounds of a migration ended; docs/metrics.md says what each word means. */
export const ROUNDS_END_REASONS = [
  'converged',
  ...['few-pages', 'few-bytes', 'sent-3x', 'sent-more', 'grew', 'rate-above-max', 'local-minimum', 'stalled'],
  ...['max-iterations', 'fixed-rounds'],
  ...['max-rounds', 'total-time-limit', 'completion-timeout', 'progress-timeout'],
  ...['switch-after-rounds', 'switch-after-share', 'switch-after', 'switch-by-hand'],
] as const;
export type RoundsEndReason = (typeof ROUNDS_END_REASONS)[number];

export const CONVERGENCE_LIMITS = {
  /** QEMU's vcpu-dirty-limit begins at 1 MB/s; a page a second is less than anybody wants. */
  dirtyLimitBytesPerSMin: 4096,
  dirtyLimitBytesPerSMax: 125_000_000_000,
  stunQuotaMax: 1_000_000,
  throttlePeriodMsMin: 10,
  throttlePeriodMsMax: 60_000,
  bandwidthBytesPerSMin: 1_000,
  bandwidthBytesPerSMax: 125_000_000_000,
  timeoutMsMax: 3_600_000,
  /** Less is not one. */
  stallProgressTimeoutMsMin: 1,
} as const;

export const DEFAULT_CONVERGENCE: Readonly<Convergence> = {
  stopRule: StopRule.STOP_RULE_DOWNTIME_LIMIT,
  downtimeRamp: DowntimeRamp.DOWNTIME_RAMP_NONE,
  throttle: Throttle.THROTTLE_NONE,
  /** QEMU's throttle-trigger-threshold, cpu-throttle-initial, -increment, max-cpu-throttle. */
  throttleTriggerThreshold: 50,
  cpuThrottleInitial: 20,
  cpuThrottleIncrement: 10,
  maxCpuThrottle: 99,
  cpuThrottleTailslow: false,
  /** QEMU's vcpu-dirty-limit. */
  vcpuDirtyLimitBytesPerS: 1_000_000,
  /** Clark et al. (NSDI 2005). */
  stunQuota: 40,
  skip: Skip.SKIP_NONE,
  dirtyLast: false,
  freePages: FreePages.FREE_PAGES_NONE,
  bandwidthRule: BandwidthRule.BANDWIDTH_RULE_FIXED,
  /** Clark et al.: 100 Mbit/s. */
  minBandwidthBytesPerS: 12_500_000,
  completionTimeoutPerGibMs: 0,
  progressTimeoutMs: 0,
  /** 75 s for each GiB (nova), 10 s (KubeVirt). */
  downtimeRampStepMs: 0,
  /** KubeVirt's stallProgressTimeout. */
  stallProgressTimeoutMs: 40_000,
  /** QEMU's (migration_bitmap_sync). */
  throttlePeriodMs: 1000,
};

/** No limit at all, and nothing that may lose the guest. */
export const DEFAULT_GOAL: Readonly<Goal> = {
  maxDowntimeMs: 0,
  maxTotalTimeMs: 0,
  maxDegradationPercent: 0,
  mayLoseOnLinkFailure: false,
};

/** How the rounds of a migration are steered. */
export function convergenceOf({ convergence }: Pick<MigrationOptions, 'convergence'>): Readonly<Convergence> {
  return convergence ?? DEFAULT_CONVERGENCE;
}

/** Everything that is wrong with how the rounds of a migration are to be steered, as sentences. */
export function convergenceProblems(convergence: Readonly<Convergence>): string[] {
  const limits = CONVERGENCE_LIMITS;
  const problems: string[] = [];
  const known = (what: string, rules: RuleNames<string, number>, value: number): void => {
    if (rules.nameOf(value) !== undefined) return;
    problems.push(`${what} is ${value}; allowed is ${rules.names.join(', ')}`);
  };
  const within = (what: string, value: number, min: number, max: number, unit = ''): void => {
    if (value >= min && value <= max) return;
    problems.push(`${what} is ${value}${unit}; allowed is ${min} to ${max}${unit}`);
  };
  known('stop rule', STOP_RULES, convergence.stopRule);
  known('downtime ramp', DOWNTIME_RAMPS, convergence.downtimeRamp);
  known('throttle', THROTTLES, convergence.throttle);
  known('skip', SKIPS, convergence.skip);
  known('free pages', FREE_PAGES, convergence.freePages);
  known('bandwidth rule', BANDWIDTH_RULES, convergence.bandwidthRule);
  within('throttle trigger threshold', convergence.throttleTriggerThreshold, 1, 100, ' %');
  within('cpu throttle initial', convergence.cpuThrottleInitial, 1, 99, ' %');
  within('cpu throttle increment', convergence.cpuThrottleIncrement, 1, 99, ' %');
  within('max cpu throttle', convergence.maxCpuThrottle, convergence.cpuThrottleInitial, 99, ' %');
  const { dirtyLimitBytesPerSMin, dirtyLimitBytesPerSMax } = limits;
  const { vcpuDirtyLimitBytesPerS: dirtyLimit } = convergence;
  within('vcpu dirty limit', dirtyLimit, dirtyLimitBytesPerSMin, dirtyLimitBytesPerSMax, ' bytes/s');
  within('stun quota', convergence.stunQuota, 1, limits.stunQuotaMax);
  const { throttlePeriodMsMin, throttlePeriodMsMax } = limits;
  within('throttle period', convergence.throttlePeriodMs, throttlePeriodMsMin, throttlePeriodMsMax, ' ms');
  const { bandwidthBytesPerSMin, bandwidthBytesPerSMax } = limits;
  const { minBandwidthBytesPerS: bandwidth } = convergence;
  within('min bandwidth', bandwidth, bandwidthBytesPerSMin, bandwidthBytesPerSMax, ' bytes/s');
  within('completion timeout per GiB', convergence.completionTimeoutPerGibMs, 0, limits.timeoutMsMax, ' ms');
  within('progress timeout', convergence.progressTimeoutMs, 0, limits.timeoutMsMax, ' ms');
  within('downtime ramp step', convergence.downtimeRampStepMs, 0, limits.timeoutMsMax, ' ms');
  const { stallProgressTimeoutMs: window } = convergence;
  within('stall progress timeout', window, limits.stallProgressTimeoutMsMin, limits.timeoutMsMax, ' ms');
  return problems;
}

/** Everything that is wrong with a goal, as sentences. */
export function goalProblems({
  maxDowntimeMs,
  maxTotalTimeMs,
  maxDegradationPercent,
}: Readonly<Goal>): string[] {
  const problems: string[] = [];
  const within = (what: string, value: number, max: number, unit: string): void => {
    if (value >= 0 && value <= max) return;
    problems.push(`${what} is ${value}${unit}; allowed is 0 (no limit) to ${max}${unit}`);
  };
  within('goal max downtime', maxDowntimeMs, CONVERGENCE_LIMITS.timeoutMsMax, ' ms');
  within('goal max total time', maxTotalTimeMs, CONVERGENCE_LIMITS.timeoutMsMax, ' ms');
  within('goal max degradation', maxDegradationPercent, 100, ' %');
  return problems;
}
