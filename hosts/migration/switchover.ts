/**
 * The pause and the handover at the source: from the guest's last instruction here to the destination's word
 * that it runs there. Everything between is downtime, so nothing here waits for a timer, another thread of
 * this host, or a disk. docs/ownership.md has the rules; the word `handover` of the control block decides
 * between this thread and the main one.
 */

import { randomFillSync } from 'node:crypto';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { MigrationPhase } from '../../proto/generated/godwit/v1/migration.ts';
import { nowMs } from '../clock.ts';
import type { ControlBlock } from '../guest/control-block.ts';
import { HANDOVER } from '../guest/control-layout.ts';
import { FREE_LIST_STATE_BYTES } from '../guest/free-list-layout.ts';
import { currentLedger, digestOf, emptyLedger } from '../guest/ledger.ts';
import { readVcpuState, VCPU_STATE_BYTES } from '../guest/shared-guest.ts';
import type { ChannelSender } from './channel-sender.ts';
import { saveFreeList } from './free-list-transfer.ts';
import type { PageSet } from './page-set.ts';
import { within } from './silence.ts';
import type { SourceChannel } from './source-channel.ts';
import { type SourceParts, sentBytesOf } from './source-parts.ts';
import type { Side } from './wire.ts';

/** When what happened; the monotonic clock, ms, and 0 for what has not happened. */
export interface SwitchoverTimes {
  pauseRequestedAtMs: number;
  parkedAtMs: number;
  finalPagesSentAtMs: number;
  deviceStateSentAtMs: number;
  readyAtMs: number;
  commitSentAtMs: number;
}

export class Switchover {
  readonly times: SwitchoverTimes = {
    pauseRequestedAtMs: 0,
    parkedAtMs: 0,
    finalPagesSentAtMs: 0,
    deviceStateSentAtMs: 0,
    readyAtMs: 0,
    commitSentAtMs: 0,
  };
  deviceStateBytes = 0;
  /** The versions that the guest left with, once it has. */
  readonly ledger: Uint32Array<ArrayBuffer>;
  /** Bytes sent on all channels when the guest was paused, and when it was handed over. */
  readonly sentBytes = { paused: 0, committed: 0 };
  isPaused = false;
  isCommitted = false;
  readonly #parts: SourceParts;
  readonly #control: ControlBlock;
  /**
   * The devices' state, and behind it the kernel's free list and room for the vCPUs'. Devices are emulated by the
   * size of their state alone.
   */
  readonly #deviceState: Buffer;

  constructor(parts: SourceParts, control: ControlBlock) {
    this.#parts = parts;
    this.#control = control;
    const { deviceStateBytes, vcpuCount } = parts.data.shared.spec;
    const deviceBytes = Number(deviceStateBytes);
    this.#deviceState = Buffer.alloc(deviceBytes + FREE_LIST_STATE_BYTES + vcpuCount * VCPU_STATE_BYTES);
    randomFillSync(this.#deviceState, 0, deviceBytes);
    this.ledger = emptyLedger(parts.data.shared);
    // A rehearsal: in the pause this code is compiled, and the memory that it reads and writes is there.
    digestOf(currentLedger(parts.data.shared, this.ledger));
  }

  /**
   * Stops the guest, with the handover on the witness's record, and not before the destination's vCPUs can
   * run it.
   */
  async pause(): Promise<void> {
    const { witness, standby, silence, board, signal } = this.#parts;
    await silence.during('STANDBY', standby);
    await witness.beginHandover();
    signal.throwIfAborted();
    this.sentBytes.paused = this.#sentBytes();
    board.paused = 1;
    board.phase = MigrationPhase.MIGRATION_PHASE_DEVICE;
    this.isPaused = true;
    this.times.pauseRequestedAtMs = nowMs();
    this.#control.requestPause();
    this.#control.waitParked();
    this.times.parkedAtMs = this.#control.parkedAtMs();
  }

  /**
   * The final pages are on their way: sends the rest right behind them, before it answers, and commits. Resolves when
   * the guest runs at the destination.
   *
   * @param finalPagesSent when the final pages had left
   * @param missing the pages that follow afterwards
   */
  async handOver(finalPagesSent: Promise<number>, missing?: PageSet): Promise<void> {
    const { channels, silence, failpoints, signal } = this.#parts;
    const main = channels[0] as SourceChannel;
    const ready = main.expect('READY');
    if (missing !== undefined) sendMissing(main.sender, missing);
    this.#sendDeviceState(main);
    this.times.finalPagesSentAtMs = await finalPagesSent;
    // Other channels' pages may have left later than what went on this one.
    this.times.deviceStateSentAtMs = Math.max(await main.sender.flushed(), this.times.finalPagesSentAtMs);
    await silence.during('READY', ready);
    this.times.readyAtMs = nowMs();
    await failpoints.reach('before-commit');
    signal.throwIfAborted();
    if (!this.#control.tryHandover(HANDOVER.NONE, HANDOVER.COMMITTED)) {
      throw new Error('the migration was ended just before its commit point');
    }
    this.isCommitted = true;
    this.#parts.allowReconnect();
    const resumed = main.expect('RESUMED');
    // Before it is written: the destination may run before this thread looks at the clock again.
    this.times.commitSentAtMs = nowMs();
    main.sender.send('COMMIT', {});
    this.sentBytes.committed = this.#sentBytes();
    await this.#afterCommit(main, resumed);
  }

  /** Room for the vCPUs' states and the ledger is there: nothing of size is allocated. */
  #sendDeviceState(main: SourceChannel): void {
    const { shared } = this.#parts.data;
    currentLedger(shared, this.ledger);
    const vcpuStateBytes: number[] = [];
    let end = saveFreeList(shared, this.#deviceState, Number(shared.spec.deviceStateBytes));
    for (let vcpu = 0; vcpu < shared.spec.vcpuCount; vcpu++) {
      const state = readVcpuState(shared, vcpu);
      this.#deviceState.set(state, end);
      end += state.byteLength;
      vcpuStateBytes.push(state.byteLength);
    }
    this.deviceStateBytes = end;
    const body = { ledgerDigest: digestOf(this.ledger), vcpuStateBytes };
    main.sender.send('DEVICE_STATE', body, this.#deviceState.subarray(0, end));
  }

  /** From here on the guest does not run here again unless the witness says so. */
  async #afterCommit(main: SourceChannel, resumed: Promise<unknown>): Promise<void> {
    const { failpoints, witness } = this.#parts;
    const never = new AbortController().signal;
    const answered = resumed.then((): Side => 'destination');
    // The connection may be lost while the migration stands at the failpoint.
    answered.catch(() => {});
    if (failpoints.has('after-commit')) {
      // Written, so that a host that dies here has said it.
      await main.sender.flushed().catch(() => {});
      await failpoints.reach('after-commit');
    }
    let owner: Side;
    try {
      owner = await within(Promise.race([answered, witness.decided]), DEADLINES_MS.commitAnswer, never);
    } catch {
      witness.commitUnanswered();
      // A late RESUMED counts as well; a lost connection leaves the witness alone to tell.
      owner = await Promise.race([answered.catch(() => witness.decided), witness.decided]);
    }
    if (owner === 'source') {
      throw new Error('COMMIT was not answered, and the witness gave the guest back to the source');
    }
    witness.resumed();
  }

  #sentBytes(): number {
    return sentBytesOf(this.#parts);
  }
}

/** What the destination is to run the guest without. All pages need no bitmap. */
function sendMissing(sender: ChannelSender, missing: PageSet): void {
  const bitmap = missing.size === missing.pageCount ? undefined : missing.bitmap;
  sender.send('MISSING', { pages: missing.size }, bitmap);
}
