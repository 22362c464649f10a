/**
 * What MigrationOptions may say: defaults, limits, and what is wrong with some. The experiment spec, the
 * command line, the coordinator and the hosts all ask here. Names and meanings are QEMU's where it has them
 * (qapi/migration.json).
 */

import { convergenceOf, convergenceProblems, DEFAULT_CONVERGENCE, goalProblems } from './convergence.ts';
import {
  type Failpoint,
  FailpointAction,
  type MigrationOptions,
  OnTimeout,
  PostcopyBubble,
  PostcopyPush,
  PostcopyRecovery,
} from './generated/godwit/v1/migration.ts';
import { AUTO, FAILPOINTS, TECHNIQUES } from './names.ts';
import { DEFAULT_TRANSFORMS, transformsOf, transformsProblems } from './transforms.ts';

export const MIGRATION_LIMITS = {
  channelsMax: 16,
  /** QEMU's MAX_MIGRATE_DOWNTIME_SECONDS: 2000 s. */
  downtimeLimitMsMax: 2_000_000,
  /**
   * Less than 8 kbit/s would take half a second and more for each page; more than 1 Tbit/s no network has.
   */
  maxBandwidthBytesPerSMin: 1_000,
  maxBandwidthBytesPerSMax: 125_000_000_000,
  maxRoundsMax: 1_000,
  /** All pages of the greatest guest. */
  minDirtyPagesMax: 4_194_304,
  totalTimeLimitMsMin: 1,
  totalTimeLimitMsMax: 3_600_000,
  failpointDurationMsMax: 600_000,
  /** As many as Hines and Gopalan tried. */
  pivotsMax: 9,
} as const;

/** Everything but the technique, which has no default. */
export const DEFAULT_MIGRATION_OPTIONS = {
  /** One connection, as QEMU without multifd. */
  channels: 1,
  /** QEMU's `downtime-limit`, which Cloud Hypervisor took over. */
  downtimeLimitMs: 300,
  /**
   * Unlimited. QEMU's `max-bandwidth` is 128 MiB/s; here the link is what limits unless the study says
   * otherwise.
   */
  maxBandwidthBytesPerS: 0,
  /** As QEMU: the cap does not hold back what is sent in the pause. */
  limitFinalRound: false,
  /** 30 as in Xen's former xc_domain_save (DEF_MAX_ITERS); QEMU has no limit, today's Xen 5 rounds. */
  maxRounds: 30,
  /** As QEMU, which has none: the downtime limit alone decides. Xen's SPP_TARGET_DIRTY_COUNT is 50. */
  minDirtyPages: 0n,
  /** QEMU has none and leaves it to the management above it; an experiment must end. */
  totalTimeLimitMs: 60_000,
  /** The move is made, at the price of the pause: the price is what a study wants to see. */
  onTimeout: OnTimeout.ON_TIMEOUT_STOP_AND_COPY,
  failpoints: [],
  /** As QEMU's background scan. */
  push: PostcopyPush.POSTCOPY_PUSH_SEQUENTIAL,
  /** "About best" of the 1 to 9 that Hines and Gopalan tried. */
  pivots: 7,
  bubble: PostcopyBubble.POSTCOPY_BUBBLE_DUAL,
  accessedFirst: false,
  /** QEMU's capability is off unless asked for; without it a fault waits behind what has been pushed. */
  postcopyPreempt: true,
  /** Unlimited, as QEMU's `max-postcopy-bandwidth`. */
  maxPostcopyBandwidthBytesPerS: 0,
  /** QEMU waits for ever, for whoever says migrate-recover; a testbed's migration must end. */
  recovery: PostcopyRecovery.POSTCOPY_RECOVERY_AUTOMATIC,
  recoveryLimitMs: 30_000,
  /** One pass over memory, which is what most hybrids do. */
  switchAfterRounds: 1,
  switchAfterShare: 0,
  switchAfterMs: 0,
  hotSet: 0,
  transforms: DEFAULT_TRANSFORMS,
  convergence: DEFAULT_CONVERGENCE,
  goal: undefined,
} as const satisfies Omit<MigrationOptions, 'technique'>;

/** The default options of a technique, as an object of its own that may be changed. */
export function defaultMigrationOptions(technique: string): MigrationOptions {
  return {
    ...DEFAULT_MIGRATION_OPTIONS,
    technique,
    failpoints: [],
    transforms: { ...DEFAULT_TRANSFORMS },
    convergence: { ...DEFAULT_CONVERGENCE },
  };
}

type Known = Pick<MigrationOptions, 'technique'>;

/** Whether pages follow when the guest runs at the destination, without anybody's asking for it. */
export function hasLatePages({ technique }: Known): boolean {
  return technique === 'post-copy' || technique === 'hybrid';
}

/** Whether pages may follow without anybody's asking for it: also those of a pre-copy that does not converge. */
export function maySwitchByItself(options: Known & Pick<MigrationOptions, 'onTimeout'>): boolean {
  const isForced = options.onTimeout === OnTimeout.ON_TIMEOUT_POST_COPY;
  return hasLatePages(options) || (options.technique === 'pre-copy' && isForced);
}

/** Whether pages may follow: somebody may switch a pre-copy to post-copy by hand, and both sides stand ready. */
export function mayHaveLatePages(options: Known): boolean {
  return hasLatePages(options) || options.technique === 'pre-copy';
}

/** Whether both sides of a lost link wait for somebody's word, however long that takes. */
export function isRecoveredByHand({ recovery }: Pick<MigrationOptions, 'recovery'>): boolean {
  return recovery === PostcopyRecovery.POSTCOPY_RECOVERY_MANUAL;
}

/** Everything that is wrong with what a coordinator is asked for, which may be `auto`. */
export function requestedOptionsProblems(options: MigrationOptions): string[] {
  if (options.technique === AUTO) return migrationOptionsProblems({ ...options, technique: 'pre-copy' });
  const problems = migrationOptionsProblems(options);
  if (options.goal !== undefined)
    problems.push(`a goal is for technique ${AUTO}; leave it out, or take that`);
  return problems;
}

/** Everything that is wrong with the options of a migration, as sentences; empty when it can start. */
export function migrationOptionsProblems(options: MigrationOptions): string[] {
  const limits = MIGRATION_LIMITS;
  const problems: string[] = [];
  const within = (what: string, value: number | bigint, min: number, max: number, unit = ''): void => {
    if (value >= min && value <= max) return;
    problems.push(`${what} is ${value}${unit}; allowed is ${min} to ${max}${unit}`);
  };
  if (!TECHNIQUES.some((technique) => technique === options.technique)) {
    problems.push(`technique is "${options.technique}"; allowed is ${TECHNIQUES.join(', ')}`);
  }
  within('channels', options.channels, 1, limits.channelsMax);
  within('downtime limit', options.downtimeLimitMs, 0, limits.downtimeLimitMsMax, ' ms');
  problems.push(...bandwidthProblems('max bandwidth', options.maxBandwidthBytesPerS));
  within('max rounds', options.maxRounds, 1, limits.maxRoundsMax);
  within('min dirty pages', options.minDirtyPages, 0, limits.minDirtyPagesMax);
  const { totalTimeLimitMsMin, totalTimeLimitMsMax } = limits;
  within('total time limit', options.totalTimeLimitMs, totalTimeLimitMsMin, totalTimeLimitMsMax, ' ms');
  const { ON_TIMEOUT_ABORT, ON_TIMEOUT_STOP_AND_COPY, ON_TIMEOUT_POST_COPY } = OnTimeout;
  const outcomes: OnTimeout[] = [ON_TIMEOUT_ABORT, ON_TIMEOUT_STOP_AND_COPY, ON_TIMEOUT_POST_COPY];
  if (!outcomes.includes(options.onTimeout)) {
    problems.push(`on-timeout is ${options.onTimeout}; allowed is abort, stop-and-copy or post-copy`);
  }
  problems.push(...failpointProblems(options.failpoints), ...postcopyProblems(options));
  problems.push(...transformsProblems(transformsOf(options)));
  problems.push(...convergenceProblems(convergenceOf(options)));
  if (options.goal !== undefined) problems.push(...goalProblems(options.goal));
  return problems;
}

function bandwidthProblems(what: string, bandwidth: number): string[] {
  const { maxBandwidthBytesPerSMin: min, maxBandwidthBytesPerSMax: max } = MIGRATION_LIMITS;
  if (bandwidth === 0 || (bandwidth >= min && bandwidth <= max)) return [];
  return [`${what} is ${bandwidth} bytes/s; allowed is 0 (unlimited) or ${min} to ${max} bytes/s`];
}

/** Of post-copy and hybrid. */
function postcopyProblems(options: MigrationOptions): string[] {
  const { pivotsMax, maxRoundsMax, totalTimeLimitMsMax } = MIGRATION_LIMITS;
  const { POSTCOPY_PUSH_NONE, POSTCOPY_PUSH_SEQUENTIAL, POSTCOPY_PUSH_BUBBLING } = PostcopyPush;
  const { POSTCOPY_BUBBLE_DUAL, POSTCOPY_BUBBLE_FORWARD } = PostcopyBubble;
  const problems: string[] = [];
  const within = (what: string, value: number, min: number, max: number, unit = ''): void => {
    if (value >= min && value <= max) return;
    problems.push(`${what} is ${value}${unit}; allowed is ${min} to ${max}${unit}`);
  };
  const pushes: PostcopyPush[] = [POSTCOPY_PUSH_NONE, POSTCOPY_PUSH_SEQUENTIAL, POSTCOPY_PUSH_BUBBLING];
  if (!pushes.includes(options.push)) {
    problems.push(`push is ${options.push}; allowed is none, sequential or bubbling`);
  }
  const bubbles: PostcopyBubble[] = [POSTCOPY_BUBBLE_DUAL, POSTCOPY_BUBBLE_FORWARD];
  if (!bubbles.includes(options.bubble)) {
    problems.push(`bubble is ${options.bubble}; allowed is dual or forward`);
  }
  within('pivots', options.pivots, 1, pivotsMax);
  problems.push(...bandwidthProblems('max post-copy bandwidth', options.maxPostcopyBandwidthBytesPerS));
  const { POSTCOPY_RECOVERY_AUTOMATIC, POSTCOPY_RECOVERY_MANUAL } = PostcopyRecovery;
  const recoveries: PostcopyRecovery[] = [POSTCOPY_RECOVERY_AUTOMATIC, POSTCOPY_RECOVERY_MANUAL];
  if (!recoveries.includes(options.recovery)) {
    problems.push(`recovery is ${options.recovery}; allowed is automatic or manual`);
  }
  within('recovery limit', options.recoveryLimitMs, 0, totalTimeLimitMsMax, ' ms');
  within('switch after rounds', options.switchAfterRounds, 0, maxRoundsMax);
  within('switch after share', options.switchAfterShare, 0, 1);
  within('switch after', options.switchAfterMs, 0, totalTimeLimitMsMax, ' ms');
  within('hot set', options.hotSet, 0, 1);
  return problems;
}

function failpointProblems(failpoints: readonly Failpoint[]): string[] {
  const problems: string[] = [];
  const seen = new Set<string>();
  for (const { point, action, durationMs } of failpoints) {
    if (!FAILPOINTS.some((name) => name === point)) {
      problems.push(`failpoint is "${point}"; allowed is ${FAILPOINTS.join(', ')}`);
    }
    if (seen.has(point))
      problems.push(`failpoint ${point} is given twice; allowed is one action for each point`);
    seen.add(point);
    const actionProblem = failpointActionProblem(action, durationMs);
    if (actionProblem !== undefined) problems.push(`failpoint ${point}: ${actionProblem}`);
  }
  return problems;
}

function failpointActionProblem(action: FailpointAction, durationMs: number): string | undefined {
  const max = MIGRATION_LIMITS.failpointDurationMsMax;
  const { FAILPOINT_ACTION_KILL, FAILPOINT_ACTION_DELAY, FAILPOINT_ACTION_HOLD } = FailpointAction;
  if (action === FAILPOINT_ACTION_KILL) {
    return durationMs === 0
      ? undefined
      : `kill takes no duration, but ${durationMs} ms is given; leave it out`;
  }
  if (action !== FAILPOINT_ACTION_DELAY && action !== FAILPOINT_ACTION_HOLD) {
    return `action ${action} is unknown; allowed is kill, delay or hold`;
  }
  if (durationMs > 0 && durationMs <= max) return undefined;
  return `the duration is ${durationMs} ms; allowed is more than 0, at most ${max} ms`;
}
