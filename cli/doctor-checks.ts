/**
 * What a machine must have for local hosts to run, and what it has besides; each check says how to get what
 * is missing.
 */
import { accessSync, constants, statfsSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism, freemem, tmpdir, totalmem } from 'node:os';
import { delimiter, join } from 'node:path';
import { type KernelFeatures, kernelFeatures, trialProblem } from '../hosts/network/kernel-features.ts';
import { errorText } from '../proto/errors.ts';
import { bytesText } from './render/measures.ts';

export interface Check {
  readonly name: string;
  readonly found: string;
  readonly ok: boolean;
  /** Whether local hosts need it; otherwise it is for information. */
  readonly needed: boolean;
  /** What to do when it is not ok. */
  readonly remedy: string;
}

const MEBIBYTE = 1024 * 1024;
const NODE_MAJOR_MIN = 24;
const CORES_MIN = 2;
/** The quickstart's guest on two hosts, and what the processes take themselves. */
const FREE_MEMORY_MIN = 1024 * MEBIBYTE;
const FREE_DISK_MIN = 64 * MEBIBYTE;
const SHARED_MEMORY_BYTES = 1024 * MEBIBYTE;
const CLOCK_RESOLUTION_MS_MAX = 0.1;
const CLOCK_READINGS = 10_000;

/** Devices that join namespaces, each with a command that makes one. */
const DEVICES = {
  veth: 'ip link add trial type veth peer name other',
  bridge: 'ip link add trial type bridge',
} as const;

/** What tc can do, by its name in KernelFeatures: how people call it, and what to do without it. */
const SHAPING = {
  htb: ['HTB', 'tc cannot limit rates; the relay does'],
  tbf: ['TBF', 'tc takes HTB for rates'],
  ifb: ['IFB', 'tc cannot limit what comes in; the relay does'],
  redirect: ['ingress redirect', 'tc cannot limit what comes in; the relay does'],
  netem: ['netem', 'tc cannot delay or lose packets; the relay delays, loss cannot be had'],
} as const satisfies Partial<Record<keyof KernelFeatures, readonly [string, string]>>;

/** All checks, those that local hosts need first. */
export async function runChecks(): Promise<Check[]> {
  return [
    nodeVersion(),
    memory(),
    sharedMemory(),
    disk(tmpdir(), true),
    clock(),
    await loopback(),
    cores(),
    ...(process.platform === 'linux' ? [disk('/dev/shm', false)] : []),
    ...(await kernelChecks()),
    program('tc', 'shaped links', 'iproute2'),
    program('ip', 'links between network namespaces', 'iproute2'),
    program('docker', 'hosts as containers', 'docker.io, or https://docs.docker.com/engine/install'),
  ];
}

function nodeVersion(): Check {
  const { node } = process.versions;
  return {
    name: 'Node',
    found: node,
    ok: Number.parseInt(node, 10) >= NODE_MAJOR_MIN,
    needed: true,
    remedy: `godwit needs Node ${NODE_MAJOR_MIN} or newer: \`npm install\` brings it along`,
  };
}

function memory(): Check {
  return {
    name: 'memory',
    found: `${bytesText(freemem())} free of ${bytesText(totalmem())}`,
    ok: freemem() >= FREE_MEMORY_MIN,
    needed: true,
    remedy: `the quickstart takes ${bytesText(FREE_MEMORY_MIN)}: end something, or run smaller guests`,
  };
}

function sharedMemory(): Check {
  const check = {
    name: 'shared memory',
    needed: true,
    remedy:
      'the system limits what a process may allocate: see `ulimit -v` and the memory limit of its container',
  };
  try {
    const { byteLength } = new SharedArrayBuffer(SHARED_MEMORY_BYTES);
    return { ...check, found: `a guest of ${bytesText(byteLength)} can be allocated`, ok: true };
  } catch (error) {
    return { ...check, found: errorText(error), ok: false };
  }
}

function disk(folder: string, needed: boolean): Check {
  const check = { name: folder, needed, remedy: `make room: ${bytesText(FREE_DISK_MIN)} should be free` };
  try {
    const { bavail, bsize } = statfsSync(folder);
    return { ...check, found: `${bytesText(bavail * bsize)} free`, ok: bavail * bsize >= FREE_DISK_MIN };
  } catch (error) {
    return { ...check, found: errorText(error), ok: false };
  }
}

function clock(): Check {
  let smallestNs = Number.POSITIVE_INFINITY;
  let last = process.hrtime.bigint();
  for (let reading = 0; reading < CLOCK_READINGS; reading++) {
    const now = process.hrtime.bigint();
    if (now > last) smallestNs = Math.min(smallestNs, Number(now - last));
    last = now;
  }
  const resolutionMs = smallestNs / 1e6;
  return {
    name: 'clock',
    found: `resolution ${resolutionMs.toPrecision(2)} ms`,
    ok: resolutionMs <= CLOCK_RESOLUTION_MS_MAX,
    needed: true,
    remedy: 'times would be too coarse to measure a downtime: use another clock source of the kernel',
  };
}

async function loopback(): Promise<Check> {
  const check = { name: 'loopback', needed: true, remedy: 'bring up the interface lo; 127.0.0.1 must work' };
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    return { ...check, found: '127.0.0.1 can be listened on', ok: true };
  } catch (error) {
    return { ...check, found: errorText(error), ok: false };
  } finally {
    server.close();
  }
}

function cores(): Check {
  return {
    name: 'cores',
    found: String(availableParallelism()),
    ok: availableParallelism() >= CORES_MIN,
    needed: false,
    remedy: `with fewer than ${CORES_MIN} the guest and its migration take the processor from each other`,
  };
}

/** What hosts in network namespaces and tc need of the kernel, found out by trying. */
async function kernelChecks(): Promise<Check[]> {
  const { namespaces, permitted, missing, ...features } = await kernelFeatures();
  const checks = [
    kernelCheck('network namespaces', missing.namespaces, 'hosts in network namespaces need Linux and root'),
  ];
  // Without permission nothing can be tried, and one line says why.
  if (!permitted) {
    return [
      ...checks,
      kernelCheck('shaping by tc', missing.permitted, 'it needs Linux and root, or NET_ADMIN'),
    ];
  }
  const devices = await Promise.all(
    Object.entries(namespaces ? DEVICES : {}).map(async ([name, command]) =>
      kernelCheck(name, await trialProblem(command.split(' ')), 'hosts in network namespaces need it'),
    ),
  );
  const shaping = Object.entries(SHAPING).map(([feature, [name, remedy]]) =>
    kernelCheck(name, features[feature as keyof typeof SHAPING] ? undefined : missing[feature], remedy),
  );
  return [...checks, ...devices, ...shaping];
}

function kernelCheck(name: string, problem: string | undefined, remedy: string): Check {
  return { name, found: problem ?? 'offered', ok: problem === undefined, needed: false, remedy };
}

function program(name: string, what: string, from: string): Check {
  const path = (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find(isExecutable);
  return {
    name,
    found: path ?? 'not in PATH',
    ok: path !== undefined,
    needed: false,
    remedy: `for ${what}: install ${from}`,
  };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
