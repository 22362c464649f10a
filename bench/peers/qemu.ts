/**
 * QEMU's own migration as a peer: two QEMU processes on this machine, the boot guest in one of them, moved to
 * the other over TCP on loopback. Times and bytes are what the source says (`query-migrate`).
 */

import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { Child } from '../children.ts';
import type { Move } from '../move.ts';
import { inTemporaryFolder } from '../temporary-folder.ts';
import { type BootGuestSettings, bootGuestRom, COUNTERS_ADDRESS, READY_LINE } from './boot-guest.ts';
import { asPeer } from './peer.ts';
import { Qmp } from './qmp.ts';

/** How QEMU moves the guest. */
export type QemuTechnique =
  | { readonly kind: 'pre-copy' }
  | { readonly kind: 'multifd'; readonly channels: number }
  | { readonly kind: 'post-copy' };

export interface QemuMoveSettings {
  readonly guest: BootGuestSettings;
  readonly technique: QemuTechnique;
  readonly downtimeLimitMs: number;
}

export const QEMU = 'qemu-system-x86_64';
/** More than any machine can do; QEMU's own default is 128 MiB/s. */
const MAX_BANDWIDTH_BYTES_PER_S = 2 ** 40;
/** So long the guest runs before it moves, as godwit's guests do. */
const WARM_UP_MS = 1000;
const ACHIEVED_SHARE_MIN = 0.9;
const ASK_AGAIN_MS = 20;
const BYTES_PER_MIB = 1024 ** 2;
const QMP_PIPE = 3;
/** Nothing but processor, memory and board; the debug port on stdout, the monitor on a pipe. */
const BARE_MACHINE =
  '-machine pc -nodefaults -no-user-config -no-reboot -display none -debugcon stdio ' +
  `-chardev socket,id=qmp,fd=${QMP_PIPE} -mon chardev=qmp,mode=control`;

/** Whether QEMU lets the processor run the guest, or has to emulate it. */
export function qemuAccelerator(): 'kvm' | 'tcg' {
  try {
    // The device alone is not enough: without virtualization in hardware, KVM emulates this guest, slowly.
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return /^flags\s*:.*\b(vmx|svm)\b/m.test(readFileSync('/proc/cpuinfo', 'utf8')) ? 'kvm' : 'tcg';
  } catch {
    return 'tcg';
  }
}

/**
 * Moves a fresh boot guest from one QEMU to another.
 *
 * @throws PeerProblem when QEMU is missing, or does not do it
 */
export function qemuMove(settings: QemuMoveSettings): Promise<Move> {
  const moveIn = async (folder: string): Promise<Move> => {
    const rom = join(folder, 'guest.rom');
    writeFileSync(rom, bootGuestRom(settings.guest));
    const machines: Machine[] = [];
    try {
      for (const args of [[], ['-incoming', 'defer']]) {
        machines.push(await Machine.start(rom, settings.guest.memoryBytes, args));
      }
      const [source, destination] = machines as [Machine, Machine];
      return await move(source, destination, settings);
    } finally {
      await Promise.all(machines.map((machine) => machine.stop()));
    }
  };
  return asPeer(QEMU, () => inTemporaryFolder(moveIn));
}

/** One QEMU process. */
class Machine {
  readonly qmp: Qmp;
  /** Resolves when the guest has filled its memory. */
  readonly ready: Promise<string>;
  readonly #child: Child;

  private constructor(child: Child, qmp: Qmp, ready: Promise<string>) {
    this.#child = child;
    this.qmp = qmp;
    this.ready = ready;
  }

  static async start(rom: string, memoryBytes: number, args: readonly string[]): Promise<Machine> {
    const memory = `-m ${memoryBytes / BYTES_PER_MIB}M -accel ${qemuAccelerator()}`;
    const command = [QEMU, ...`${memory} ${BARE_MACHINE}`.split(' '), '-bios', rom, ...args];
    const child = new Child(command, QMP_PIPE + 1);
    const ready = child.line(READY_LINE, DEADLINES_MS.guestWork);
    ready.catch(() => {});
    try {
      const ended = child.ended.then(() => {
        throw new Error(child.errorText || 'it has ended at its start');
      });
      return new Machine(child, await Promise.race([Qmp.open(child.pipe(QMP_PIPE)), ended]), ready);
    } catch (error) {
      await child.stop();
      throw error;
    }
  }

  /** The boot guest's counts. */
  async counters(): Promise<{ readonly periods: number; readonly pageWrites: number }> {
    const answer = await this.qmp.execute('human-monitor-command', {
      'command-line': `xp /2wx 0x${COUNTERS_ADDRESS.toString(16)}`,
    });
    const [periods, pageWrites] = /: 0x([0-9a-f]+) 0x([0-9a-f]+)/.exec(String(answer))?.slice(1) ?? [];
    if (periods === undefined || pageWrites === undefined) throw new Error(`no counts in ${String(answer)}`);
    return { periods: Number.parseInt(periods, 16), pageWrites: Number.parseInt(pageWrites, 16) };
  }

  stop(): Promise<void> {
    return this.#child.stop();
  }
}

async function move(source: Machine, destination: Machine, settings: QemuMoveSettings): Promise<Move> {
  const { technique, downtimeLimitMs } = settings;
  for (const { qmp } of [source, destination]) {
    await qmp.execute('migrate-set-capabilities', { capabilities: capabilities(technique) });
    await qmp.execute('migrate-set-parameters', parameters(technique, downtimeLimitMs));
  }
  await destination.qmp.execute('migrate-incoming', { uri: 'tcp:127.0.0.1:0' });
  const port = listeningPort(await destination.qmp.execute('query-migrate'));
  await source.ready;
  await warmUp(source, settings.guest);
  await source.qmp.execute('migrate', { uri: `tcp:127.0.0.1:${port}` });
  if (technique.kind === 'post-copy') {
    await reached(source.qmp, 'active');
    await source.qmp.execute('migrate-start-postcopy');
  }
  await reached(source.qmp, 'completed');
  const figures = await finalFigures(source.qmp);
  // The source is done when it has given everything to the socket; the destination is still to read it.
  await reached(destination.qmp, 'completed');
  await seenAlive(destination, (await source.counters()).periods);
  return figures;
}

/** @throws Error when the guest does not write as much as it should: then it is another guest than godwit's */
async function warmUp(machine: Machine, { workingSetBytes, pagesPerS }: BootGuestSettings): Promise<void> {
  const beginMs = performance.now();
  const before = await machine.counters();
  await sleep(WARM_UP_MS);
  const after = await machine.counters();
  const achieved = ((after.pageWrites - before.pageWrites) / (performance.now() - beginMs)) * 1000;
  if (workingSetBytes > 0 && achieved < pagesPerS * ACHIEVED_SHARE_MIN) {
    throw new Error(`its guest wrote ${Math.round(achieved)} pages/s of the ${pagesPerS} that it should`);
  }
}

function capabilities({ kind }: QemuTechnique): object[] {
  const on = { 'pre-copy': [], multifd: ['multifd'], 'post-copy': ['postcopy-ram'] }[kind];
  return ['events', ...on].map((capability) => ({ capability, state: true }));
}

function parameters(technique: QemuTechnique, downtimeLimitMs: number): object {
  return {
    'max-bandwidth': MAX_BANDWIDTH_BYTES_PER_S,
    'downtime-limit': downtimeLimitMs,
    ...(technique.kind === 'multifd' && { 'multifd-channels': technique.channels }),
  };
}

/** Waits for a state of the migration. @throws Error when it fails instead */
async function reached(qmp: Qmp, state: string): Promise<void> {
  const isEnd = (status: unknown): boolean =>
    status === state || status === 'failed' || status === 'completed';
  const { data } = await qmp.event(
    `QEMU's migration to be ${state}`,
    ({ name, data: { status } }) => name === 'MIGRATION' && isEnd(status),
    DEADLINES_MS.guestWork,
  );
  if (data.status === 'failed') {
    throw new Error(`the migration has failed: ${JSON.stringify(await qmp.execute('query-migrate'))}`);
  }
}

/** QEMU says that a migration is completed a moment before it says how long it took. */
async function finalFigures(qmp: Qmp): Promise<Move> {
  const untilMs = performance.now() + DEADLINES_MS.query;
  for (;;) {
    const figures = migrationFigures(await qmp.execute('query-migrate'));
    if (figures !== undefined) return figures;
    if (performance.now() > untilMs) throw new Error('it does not say how long the migration took');
    await sleep(ASK_AGAIN_MS);
  }
}

/** The guest must go on where it was, and go on. @throws Error when it does not in time */
async function seenAlive(machine: Machine, periodsBefore: number): Promise<void> {
  const untilMs = performance.now() + DEADLINES_MS.query;
  let first: number | undefined;
  for (;;) {
    const { periods } = await machine.counters();
    first ??= periods;
    if (first < periodsBefore)
      throw new Error(`the guest had counted to ${periodsBefore}, and to ${first} after its move`);
    if (periods > first) return;
    if (performance.now() > untilMs) throw new Error(`the guest stands still at ${periods}`);
    await sleep(ASK_AGAIN_MS);
  }
}

const listening = z.object({ 'socket-address': z.array(z.object({ port: z.string() })).min(1) });

/** The port that a destination listens on, from its `query-migrate`. */
export function listeningPort(answer: unknown): string {
  return listening.parse(answer)['socket-address'][0]!.port;
}

const completed = z.object({
  status: z.literal('completed'),
  'total-time': z.number(),
  downtime: z.number(),
  ram: z.object({ transferred: z.number() }),
});

/** What a source says of a migration that is over, from its `query-migrate`; undefined: not yet known. */
export function migrationFigures(answer: unknown): Move | undefined {
  const { 'total-time': totalMs, downtime, ram } = completed.parse(answer);
  if (totalMs === 0) return undefined;
  return { totalMs, downtimeMs: downtime, bytesPerS: (ram.transferred / totalMs) * 1000 };
}
