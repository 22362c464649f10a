/** The names that specs, the command line and the wire share. Each list is the registry's order for help texts. */

export const TECHNIQUES = ['stop-and-copy', 'pre-copy', 'post-copy', 'hybrid'] as const;
export type Technique = (typeof TECHNIQUES)[number];

/** What may be asked for in a technique's place: the coordinator chooses one for a goal. */
export const AUTO = 'auto';
export const TECHNIQUES_ASKED = [...TECHNIQUES, AUTO] as const;
export type TechniqueAsked = (typeof TECHNIQUES_ASKED)[number];

export const WORKLOADS = [
  'idle',
  'uniform',
  'sequential',
  'hot-cold',
  'zipf',
  'phased',
  'kv',
  'trace',
  'web',
] as const;
export type WorkloadKind = (typeof WORKLOADS)[number];

/** The workloads that one phase of `phased` may be. */
export const PHASE_WORKLOADS = ['idle', 'uniform', 'sequential', 'hot-cold', 'zipf'] as const;

/** The workloads that answer requests: a guest that has a NIC runs one of them. */
export const ANSWERING_WORKLOADS = ['kv', 'web'] as const satisfies readonly WorkloadKind[];

/** The named points of the migration protocol up to the guest's first step at the destination, in their order. */
export const SWITCH_FAILPOINTS = [
  'setup',
  'round-1',
  'round-2',
  'final-pages',
  'before-commit',
  'after-commit',
  'before-resume',
] as const;

/** And those behind it, which a migration meets whose guest runs before its pages have come. */
export const POSTCOPY_FAILPOINTS = [
  'postcopy-active',
  'postcopy-paused',
  'postcopy-recover',
  'before-complete',
  'after-complete',
] as const;

export const FAILPOINTS = [...SWITCH_FAILPOINTS, ...POSTCOPY_FAILPOINTS] as const;
export type FailpointName = (typeof FAILPOINTS)[number];

/** At the destination; all others are at the source. */
export const DESTINATION_FAILPOINTS: readonly FailpointName[] = ['before-resume', 'before-complete'];

const NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;

/** What is wrong with a guest's or a host's name, or undefined. */
export function nameProblem(name: string): string | undefined {
  if (NAME.test(name)) return undefined;
  return `"${name}" is not a name: 1 to 63 of a-z, 0-9, "-" and ".", beginning and ending with a letter or digit`;
}
