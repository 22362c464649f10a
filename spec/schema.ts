/**
 * The form of an experiment spec: its keys, their defaults and what each value may be. The editors' JSON
 * schema, the messages about wrong specs and docs/experiments.md follow it. What ties several keys together
 * is in rules.ts.
 */

import { z } from 'zod';
import { RESPONSE_BODY_BYTES_MAX } from '../proto/guest-request.ts';
import { GUEST_LIMITS } from '../proto/guest-spec.ts';
import { DEFAULT_MIGRATION_OPTIONS as DEFAULTS, MIGRATION_LIMITS } from '../proto/migration-options.ts';
import { FAILPOINTS, PHASE_WORKLOADS, TECHNIQUES_ASKED, WORKLOADS } from '../proto/names.ts';
import { PAGE_BYTES } from '../proto/page.ts';
import { WORKLOAD_LIMITS } from '../workloads/workload-problems.ts';
import { clientsSection } from './clients-section.ts';
import { convergenceKeys, goalSection, orAdaptive } from './convergence-section.ts';
import {
  choice,
  flag,
  integer,
  listable,
  name,
  quantity,
  section,
  share,
  targetRate,
  text,
} from './fields.ts';
import { networkSections } from './network-sections.ts';
import { transformsSection } from './transforms-section.ts';
import { bandwidth, duration, pageRate, size } from './units.ts';

export const SPEC_LIMITS = {
  fileBytesMax: 1024 * 1024,
  /** How many times the values behind a file's aliases may be used; against "billion laughs". */
  aliasCountMax: 100,
  /** How many problems are told at once. */
  problemsMax: 100,
  seedMax: Number.MAX_SAFE_INTEGER,
  trialsMax: 1000,
  /** What an experiment compares. */
  variantsMax: 100,
  hostsMin: 2,
  hostsMax: 64,
  warmUpMsMax: 600_000,
  settleMsMax: 600_000,
  /** What a coordinator lets one host take part in at a time. */
  guestCountMax: 8,
} as const;

export const FABRICS = ['process', 'netns'] as const;
export type FabricKind = (typeof FABRICS)[number];
export const FAILPOINT_ACTIONS = ['kill', 'delay'] as const;
export const ON_TIMEOUT = ['abort', 'stop-and-copy', 'post-copy'] as const;
export const PUSHES = ['none', 'sequential', 'bubbling'] as const;
export const BUBBLES = ['dual', 'forward'] as const;
export const RECOVERIES = ['automatic', 'manual'] as const;

const LIMITS = SPEC_LIMITS;

const timeUpTo = (max: number) => quantity(duration, 0, max);
const bandwidthLimit = () =>
  quantity(bandwidth, MIGRATION_LIMITS.maxBandwidthBytesPerSMin, MIGRATION_LIMITS.maxBandwidthBytesPerSMax);
const memorySize = () => quantity(size, 1, GUEST_LIMITS.memoryBytesMax);

/**
 * What both a workload and a phase of `phased` may say about where writes go. Which kind uses which:
 * workloads/.
 */
const placement = {
  'working-set': memorySize()
    .optional()
    .describe('The memory that is written, from its start. Default: all.'),
  hot: share().optional().describe('hot-cold: the share of writes that go to the working set.'),
  theta: share(WORKLOAD_LIMITS.thetaMax)
    .optional()
    .describe('zipf, kv, web: how skewed the choice is; 0 is uniform.'),
};

const phase = section({
  kind: choice(PHASE_WORKLOADS).describe('What the guest does in this phase.'),
  duration: quantity(duration, WORKLOAD_LIMITS.phaseMsMin, WORKLOAD_LIMITS.phaseMsMax).describe(
    'How long the phase lasts.',
  ),
  'rate-factor': share(WORKLOAD_LIMITS.rateFactorMax)
    .optional()
    .describe("The phase's rate, as a multiple of the workload's. Default: 1."),
  ...placement,
}).describe('One phase of a phased workload.');

const workload = section({
  kind: choice(WORKLOADS).describe('What the guest runs.'),
  rate: targetRate(WORKLOAD_LIMITS.rateMax).optional().describe('The target rate over all vCPUs.'),
  ...placement,
  read: share().optional().describe('kv, web: the share of operations that only read.'),
  scan: share().optional().describe('kv: the share of operations that scan; the rest update.'),
  'scan-length': integer(1, WORKLOAD_LIMITS.scanLengthMax)
    .optional()
    .describe('kv: the records that a scan reads.'),
  'pages-per-request': integer(1, WORKLOAD_LIMITS.pagesPerRequestMax)
    .optional()
    .describe('web: the pages that a response is made from.'),
  'response-size': quantity(size, 0, RESPONSE_BODY_BYTES_MAX)
    .optional()
    .describe("web: the size of a response's body."),
  phases: z
    .array(phase, { error: 'a list of phases' })
    .min(1, { error: 'at least one phase; leave the key out for the built-in ones' })
    .max(WORKLOAD_LIMITS.phaseCountMax, { error: `at most ${WORKLOAD_LIMITS.phaseCountMax} phases` })
    .optional()
    .describe('phased: what to do, one after the other, for ever.'),
  trace: text('the path of a trace file')
    .optional()
    .describe('trace: a file of lines "time-ms page", relative to the spec.'),
}).describe('What the guest runs, and how fast. A key that the kind does not use is refused.');

const content = section({
  zero: share().default(0).describe('The share of pages that hold only zeroes.'),
  duplicate: share().default(0).describe('The share of pages that are copies of a few pages of this guest.'),
  shared: share()
    .default(0)
    .describe('The share of pages that are copies of pages of an image that all guests have.'),
  image: quantity(size, PAGE_BYTES, GUEST_LIMITS.memoryBytesMax)
    .optional()
    .describe('The size of that image, a multiple of 4KiB; 64KiB when it is not given.'),
  compressible: share().default(0).describe('The share of the bytes of each other page that compress away.'),
  free: share(GUEST_LIMITS.freeShareMax)
    .optional()
    .describe("The share of all pages that are on the kernel's free list; the workload uses the others."),
  'free-churn': quantity(pageRate, 0, GUEST_LIMITS.freeChurnPagesPerSMax)
    .optional()
    .describe('How many of those the kernel takes and writes per second, and gives as many back.'),
}).describe("What the guest's memory holds at boot; the first three shares together at most 1.");

const guest = section({
  name: name().default('guest').describe("The guest's name."),
  count: integer(1, LIMITS.guestCountMax)
    .default(1)
    .describe('How many of them: NAME-1 to NAME-N, each with a seed of its own, from one host.'),
  memory: quantity(size, GUEST_LIMITS.memoryBytesMin, GUEST_LIMITS.memoryBytesMax)
    .prefault('256MiB')
    .describe("The guest's memory, a multiple of 4KiB."),
  vcpus: integer(GUEST_LIMITS.vcpuCountMin, GUEST_LIMITS.vcpuCountMax)
    .default(1)
    .describe('How many threads run the workload on the same memory.'),
  'device-state': quantity(size, 0, GUEST_LIMITS.deviceStateBytesMax)
    .prefault('64KiB')
    .describe("The devices' state, which travels in the pause."),
  content: content.prefault({}),
  workload: workload.prefault({ kind: 'idle' }),
}).describe('The guest that moves.');

const failpoint = section({
  at: choice(FAILPOINTS).describe('The point of the protocol.'),
  do: choice(FAILPOINT_ACTIONS).describe('What happens to the host that reaches it.'),
  for: quantity(duration, 0.001, MIGRATION_LIMITS.failpointDurationMsMax)
    .optional()
    .describe('delay: how long the host waits.'),
}).describe('A fault at a point of the protocol.');

const migration = section({
  technique: listable(choice(TECHNIQUES_ASKED)).describe(
    'How the guest moves, or auto to have it chosen; a list runs each in turn on the same guest and seed, ' +
      'and so do the lists of other keys.',
  ),
  goal: goalSection,
  predict: flag()
    .default(false)
    .describe('Whether each migration is predicted before it begins, for its record; auto always is.'),
  from: name().optional().describe('The host that the guest leaves. Default: see docs/experiments.md.'),
  to: name().optional().describe('The host that it moves to. Default: see docs/experiments.md.'),
  'all-at-once': flag()
    .default(false)
    .describe('Whether several guests leave at the same time; otherwise one after the other.'),
  channels: listable(integer(1, MIGRATION_LIMITS.channelsMax))
    .default(DEFAULTS.channels)
    .describe('How many connections carry pages.'),
  'downtime-limit': listable(timeUpTo(MIGRATION_LIMITS.downtimeLimitMsMax))
    .prefault(duration.format(DEFAULTS.downtimeLimitMs))
    .describe('Switch over once the rest should take less than this.'),
  'max-bandwidth': orAdaptive(listable(bandwidthLimit()))
    .prefault(bandwidth.format(DEFAULTS.maxBandwidthBytesPerS))
    .describe('What the migration may use of the link; adaptive: what others leave (bandwidth-rule: delay).'),
  'limit-final-round': listable(flag())
    .default(DEFAULTS.limitFinalRound)
    .describe('Whether max-bandwidth also holds back what is sent in the pause.'),
  'max-rounds': listable(integer(1, MIGRATION_LIMITS.maxRoundsMax))
    .default(DEFAULTS.maxRounds)
    .describe('After this many rounds without convergence on-timeout is done.'),
  'min-dirty-pages': listable(integer(0, MIGRATION_LIMITS.minDirtyPagesMax))
    .default(Number(DEFAULTS.minDirtyPages))
    .describe('Switch over when no more pages than this are dirty.'),
  'total-time-limit': listable(
    quantity(duration, MIGRATION_LIMITS.totalTimeLimitMsMin, MIGRATION_LIMITS.totalTimeLimitMsMax),
  )
    .prefault(duration.format(DEFAULTS.totalTimeLimitMs))
    .describe('After this time without convergence on-timeout is done; with push none the rest is pushed.'),
  'on-timeout': listable(choice(ON_TIMEOUT))
    .default('stop-and-copy')
    .describe('What becomes of a migration that does not converge.'),
  ...convergenceKeys,
  push: listable(choice(PUSHES))
    .default('sequential')
    .describe(
      'What the source of a post-copy sends unasked: nothing, page by page, or in bubbles around faults.',
    ),
  pivots: listable(integer(1, MIGRATION_LIMITS.pivotsMax))
    .default(DEFAULTS.pivots)
    .describe('bubbling: how many bubbles there are at most.'),
  bubble: listable(choice(BUBBLES)).default('dual').describe('bubbling: whether bubbles grow to both sides.'),
  'accessed-first': listable(flag())
    .default(DEFAULTS.accessedFirst)
    .describe('Push what the guest has lately accessed before the rest.'),
  'postcopy-preempt': listable(flag())
    .default(DEFAULTS.postcopyPreempt)
    .describe('Whether demanded pages have a connection of their own.'),
  'max-postcopy-bandwidth': listable(bandwidthLimit())
    .prefault(bandwidth.format(DEFAULTS.maxPostcopyBandwidthBytesPerS))
    .describe('What the push may use of the link; demanded pages may exceed it.'),
  recovery: listable(choice(RECOVERIES))
    .default('automatic')
    .describe('Who connects again when the link is lost: the destination, or nobody until `godwit recover`.'),
  'recovery-limit': listable(timeUpTo(MIGRATION_LIMITS.totalTimeLimitMsMax))
    .prefault(duration.format(DEFAULTS.recoveryLimitMs))
    .describe('For so long a post-copy whose link is lost tries to connect again; then the guest is lost.'),
  'switch-after-rounds': listable(integer(0, MIGRATION_LIMITS.maxRoundsMax))
    .optional()
    .describe(
      'hybrid: switch after so many rounds; 0: not by this. Default: 1, or 0 with another switch-after.',
    ),
  'switch-after-share': listable(share())
    .default(DEFAULTS.switchAfterShare)
    .describe("hybrid: switch when this share of the guest's memory has been sent; 0: not by this."),
  'switch-after': listable(timeUpTo(MIGRATION_LIMITS.totalTimeLimitMsMax))
    .prefault(duration.format(DEFAULTS.switchAfterMs))
    .describe('hybrid: switch after this time; 0: not by this.'),
  'hot-set': listable(share())
    .default(DEFAULTS.hotSet)
    .describe('hybrid: at most this share of the memory, dirty and lately accessed, travels in the pause.'),
  transforms: transformsSection,
  failpoints: z
    .array(failpoint, { error: 'a list of failpoints' })
    .max(FAILPOINTS.length, { error: 'one failpoint for each point' })
    .default([])
    .describe('Faults at named points of the protocol, one for each point.'),
}).describe('How the guest moves.');

export const specSchema = section({
  name: name().optional().describe("The experiment's name. Default: the file's."),
  seed: integer(0, LIMITS.seedMax)
    .default(1)
    .describe('Decides the boot content and every random choice: the same seed, the same guest.'),
  trials: integer(1, LIMITS.trialsMax).default(1).describe('How often each variant is run.'),
  'warm-up': timeUpTo(LIMITS.warmUpMsMax).prefault('1s').describe('How long the guest runs before it moves.'),
  settle: timeUpTo(LIMITS.settleMsMax)
    .prefault('500ms')
    .describe('How long the guest is watched after the move.'),
  fabric: section({
    kind: choice(FABRICS)
      .default('process')
      .describe('Where hosts run: as local processes, or each in a network namespace (Linux, root).'),
    hosts: integer(LIMITS.hostsMin, LIMITS.hostsMax).default(2).describe('How many hosts there are.'),
  })
    .prefault({})
    .describe('Where hosts run.'),
  guest,
  migration,
  clients: clientsSection
    .optional()
    .describe('Clients outside that ask each guest for something. Default: none.'),
  ...networkSections,
}).meta({ title: 'godwit experiment', description: 'An experiment of godwit; see docs/experiments.md.' });

/** A spec with every default filled in, numbers instead of units; not yet held to the rules between keys. */
export type Spec = z.output<typeof specSchema>;
export type WorkloadSection = Spec['guest']['workload'];
export type PhaseSection = NonNullable<WorkloadSection['phases']>[number];
