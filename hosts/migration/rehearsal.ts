/**
 * Moves small guests from this thread to itself, over real sockets, while nobody waits for it. A mover moves one
 * guest, so that without this all code of its pause would run for the first time then: most of a short pause went
 * by in loading and compiling it. What has run here is in the compile cache, too, for threads that have no time.
 */

import { randomBytes } from 'node:crypto';
import { MessageChannel } from 'node:worker_threads';
import type { GuestSpec } from '../../proto/generated/godwit/v1/guest.ts';
import type { Ticket } from '../../proto/generated/godwit/v1/host.ts';
import { defaultMigrationOptions } from '../../proto/migration-options.ts';
import type { Technique } from '../../proto/names.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { nowMs } from '../clock.ts';
import { ControlBlock } from '../guest/control-block.ts';
import { allocateGuest, type SharedGuest } from '../guest/shared-guest.ts';
import { VcpuControl } from '../guest/vcpu-control.ts';
import { SEALING_LIMITS } from '../transform/encryption/limits.ts';
import { DestinationMover } from './destination-mover.ts';
import type {
  DestinationMoverData,
  FromDestinationMover,
  FromSourceMover,
  SourceMoverData,
  ToSourceMover,
} from './messages.ts';
import { progressBoard } from './progress-board.ts';
import { SourceMover } from './source-mover.ts';
import { SwitchRequest } from './switch-request.ts';

const NAME = 'rehearsal';
const LOOPBACK = '127.0.0.1';
/** Some frames of each kind. */
const PAGES = 128;
/** Which have all steps among them. Each move is some milliseconds of processor time. */
const MOVES: readonly Technique[] = ['pre-copy', 'post-copy', 'pre-copy', 'post-copy'];

/**
 * Resolves when everything has been rehearsed, or cannot be: a mover is none the worse for it.
 *
 * @param isAwaited whether there is work for this thread: then it leaves off
 */
export async function rehearse(isAwaited: () => boolean): Promise<void> {
  for (const technique of MOVES) {
    if (isAwaited()) return;
    await move(technique);
  }
}

async function move(technique: Technique): Promise<void> {
  // In this thread alone: what is demanded has none of its own.
  const options = { ...defaultMigrationOptions(technique), postcopyPreempt: false };
  const common = { migration: NAME, options, ticket: ticket() };
  const source = new MessageChannel();
  const destination = new MessageChannel();
  const tell = (message: ToSourceMover): void => source.port1.postMessage(message);
  const stay = (): void => {};
  let arrived: Promise<void> | undefined;
  source.port1.on('message', (message: FromSourceMover) => {
    if (message.type === 'begin-handover') tell({ type: 'handover-begun' });
    if (message.type !== 'listening') return;
    const to: DestinationMoverData = {
      ...common,
      shared: guestWithoutThreads(),
      board: progressBoard().shared,
      sourceAddress: LOOPBACK,
      sourcePort: message.port,
      sharesClock: true,
      lent: undefined,
    };
    arrived = new DestinationMover(to, destination.port2, stay).run();
  });
  destination.port1.on('message', (message: FromDestinationMover) => {
    if (message.type === 'ended' && message.reason !== '') tell({ type: 'stop', reason: message.reason });
  });
  const from: SourceMoverData = {
    ...common,
    shared: guestWithoutThreads(),
    board: progressBoard().shared,
    listenAddress: LOOPBACK,
    acceptedAtMs: nowMs(),
    switchRequest: new SwitchRequest().shared,
    gang: undefined,
  };
  await new SourceMover(from, source.port2, stay).run();
  await arrived;
  for (const port of [source.port1, destination.port1]) port.close();
}

/** It never leaves this thread. */
function ticket(): Ticket {
  const names = { migration: NAME, guest: NAME, source: NAME, destination: NAME };
  return {
    ...names,
    epoch: 0n,
    expiresAtMs: Number.MAX_SAFE_INTEGER,
    secret: randomBytes(SEALING_LIMITS.keyBytes),
  };
}

/** Its only vCPU has ended: so it counts as parked, and as having run when it is resumed. */
function guestWithoutThreads(): SharedGuest {
  const spec: GuestSpec = {
    name: NAME,
    memoryBytes: BigInt(PAGES * PAGE_BYTES),
    vcpuCount: 1,
    deviceStateBytes: 0n,
    seed: 0n,
    content: undefined,
    workload: undefined,
    network: undefined,
  };
  const shared = allocateGuest(spec);
  new Uint8Array(shared.memory).fill(1);
  const control = new ControlBlock(shared.control, spec.vcpuCount);
  control.leaseUntilMs = Number.POSITIVE_INFINITY;
  control.resume();
  const vcpu = new VcpuControl(shared.control, 0);
  vcpu.noteRun();
  vcpu.retire();
  return shared;
}
