/**
 * What the kernel offers for shaping, found out by trying: each trial is one command in a network namespace
 * of its own that is gone when the command ends, so that nothing is left behind, whatever happens.
 */

import { execFile } from 'node:child_process';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { errorText } from '../../proto/errors.ts';

export interface KernelFeatures {
  /** Whether this process may shape devices: root, or the capabilities NET_ADMIN and SYS_ADMIN. */
  readonly permitted: boolean;
  readonly htb: boolean;
  readonly tbf: boolean;
  readonly netem: boolean;
  /** Intermediate functional blocks: devices that make ingress shapeable. */
  readonly ifb: boolean;
  /** The ingress hook with u32 and mirred, which lead what comes in to an IFB. */
  readonly redirect: boolean;
  /** For each feature that is missing: the command and what it answered. */
  readonly missing: Readonly<Record<string, string>>;
}

const TRIALS = {
  permitted: ['ip', 'link', 'set', 'lo', 'up'],
  htb: ['tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'handle', '1:', 'htb', 'default', '2'],
  tbf: 'tc qdisc add dev lo root tbf rate 1mbit burst 10kb limit 10kb'.split(' '),
  netem: ['tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'netem', 'delay', '1ms'],
  ifb: ['ip', 'link', 'add', 'trial', 'type', 'ifb'],
  redirect: [
    'sh',
    '-c',
    'tc qdisc add dev lo handle ffff: ingress && tc filter add dev lo parent ffff: protocol all ' +
      'u32 match u32 0 0 action mirred egress redirect dev lo',
  ],
} as const satisfies Record<string, readonly string[]>;

type Feature = keyof typeof TRIALS;

/**
 * Tries everything; takes some tens of milliseconds. Never throws: what cannot be tried is missing, with its
 * reason.
 */
export async function kernelFeatures(): Promise<KernelFeatures> {
  const missing: Record<string, string> = {};
  const found = {} as Record<Feature, boolean>;
  for (const feature of Object.keys(TRIALS) as Feature[]) {
    const problem = missing.permitted ?? (await trialProblem(TRIALS[feature]));
    found[feature] = problem === undefined;
    if (problem !== undefined) missing[feature] = problem;
  }
  return { ...found, missing };
}

/** What a command answered in a namespace of its own, or undefined when it worked. */
export function trialProblem(command: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    const options = { timeout: DEADLINES_MS.query };
    execFile('unshare', ['--net', ...command], options, (error, _stdout, stderr) => {
      if (error === null) resolve(undefined);
      else resolve(`${command.join(' ')}: ${stderr.trim().replaceAll('\n', ' ') || errorText(error)}`);
    });
  });
}
