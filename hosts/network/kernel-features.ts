/**
 * What the kernel offers for shaping, found out by trying. Each trial is one command in a network namespace
 * of its own that is gone when the command ends. Who may not make one (a container with NET_ADMIN and without
 * SYS_ADMIN) tries on a pair of devices in its own namespace; the shell that makes them also takes them away,
 * and it outlives a process that is killed.
 */

import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { errorText } from '../../proto/errors.ts';
import { runRemoval } from './tc.ts';

export interface KernelFeatures {
  /** Whether this process may make network namespaces: root, or the capability SYS_ADMIN. */
  readonly namespaces: boolean;
  /** Whether this process may shape devices: root, or the capability NET_ADMIN. */
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

/** Shell commands on a device to be shaped; `new` is the name of a device that does not exist yet. */
const TRIALS = {
  permitted: 'ip link set $device up',
  htb: 'tc qdisc add dev $device root handle 1: htb default 2',
  tbf: 'tc qdisc add dev $device root tbf rate 1mbit burst 10kb limit 10kb',
  netem: 'tc qdisc add dev $device root netem delay 1ms',
  ifb: 'ip link add $new type ifb',
  redirect:
    'tc qdisc add dev $device handle ffff: ingress && tc filter add dev $device parent ffff: protocol all ' +
    'u32 match u32 0 0 action mirred egress redirect dev $device',
} as const;

type Feature = keyof typeof TRIALS;

/** A device of a trial in this namespace carries the pid of the process that tries. */
const TRIAL_DEVICE = /^gw-(\d+)-\w+$/;

/**
 * Tries everything; takes some tens of milliseconds. Never throws: what cannot be tried is missing, with its
 * reason.
 */
export async function kernelFeatures(): Promise<KernelFeatures> {
  const missing: Record<string, string> = {};
  const found = {} as Record<Feature, boolean>;
  const refused = await problemApart(TRIALS.permitted);
  if (refused !== undefined) missing.namespaces = refused;
  const problemOf = refused === undefined ? problemApart : problemHere;
  for (const feature of Object.keys(TRIALS) as Feature[]) {
    const problem = missing.permitted ?? (await problemOf(TRIALS[feature]));
    found[feature] = problem === undefined;
    if (problem !== undefined) missing[feature] = problem;
  }
  return { namespaces: refused === undefined, ...found, missing };
}

/** What a command answered in a namespace of its own, or undefined when it worked. */
export function trialProblem(command: readonly string[]): Promise<string | undefined> {
  return answer(['unshare', '--net', ...command], command.join(' '));
}

/**
 * Takes away the devices of trials whose process is gone, from this namespace. No trial leaves any, unless
 * its shell was killed too.
 *
 * @returns their names
 * @throws Error with the ip command and its answer
 */
export async function removeTrialDevices(): Promise<string[]> {
  const left = deviceNames().filter((name) => {
    const pid = TRIAL_DEVICE.exec(name)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  });
  for (const name of left) await runRemoval(['ip', 'link', 'del', name]);
  return left;
}

/** The devices of this process's namespace (proc_pid_net(5)); none where there is no such file. */
function deviceNames(): string[] {
  const file = '/proc/self/net/dev';
  if (!existsSync(file)) return [];
  return [...readFileSync(file, 'utf8').matchAll(/^ *(\S+):/gm)].map(([, name]) => name ?? '');
}

function problemApart(trial: string): Promise<string | undefined> {
  const command = commandOn('lo', 'trial', trial);
  return answer(['unshare', '--net', 'sh', '-c', command], command);
}

/** The same on devices that are made here, and taken away whatever the command answers. */
function problemHere(trial: string): Promise<string | undefined> {
  const [device, peer, other] = ['a', 'b', 'c'].map((end) => `gw-${process.pid}-${end}`) as [
    string,
    string,
    string,
  ];
  const pair = `ip link add ${device} type veth peer name ${peer}`;
  const command = trial === TRIALS.permitted ? pair : commandOn(device, other, trial);
  const script = [
    `trap 'ip link del ${device} 2> /dev/null; ip link del ${other} 2> /dev/null' EXIT`,
    "trap 'exit 1' HUP INT TERM",
    command === pair ? pair : `${pair} && ${command}`,
  ];
  return answer(['sh', '-c', script.join('\n')], command);
}

function commandOn(device: string, newDevice: string, trial: string): string {
  return trial.replaceAll('$device', device).replaceAll('$new', newDevice);
}

/** What a command of this machine answered, after what is shown for it; undefined when it worked. */
function answer([file, ...args]: readonly [string, ...string[]], shown: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(file, args, { timeout: DEADLINES_MS.query }, (error, _stdout, stderr) => {
      if (error === null) resolve(undefined);
      else resolve(`${shown}: ${stderr.trim().replaceAll('\n', ' ') || errorText(error)}`);
    });
  });
}
