/**
 * The destination's mover: a worker thread that owns the sockets of one incoming migration, writes the
 * guest's memory, and resumes the guest. Its owner is incoming.ts.
 */

import { parentPort, workerData } from 'node:worker_threads';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import type { PostcopyDestinationReport } from '../../proto/generated/godwit/v1/migration.ts';
import { nowMs } from '../clock.ts';
import { ControlBlock } from '../guest/control-block.ts';
import { HANDOVER } from '../guest/control-layout.ts';
import { readFaultStatistics } from '../guest/fault-statistics.ts';
import { DestinationSide, SourceGaveUp } from './destination-side.ts';
import { Failpoints, longestHoldMs } from './failpoints.ts';
import { MOVER_LIMITS } from './limits.ts';
import type { DestinationMoverData, FromDestinationMover, ToDestinationMover } from './messages.ts';
import { progressBoard } from './progress-board.ts';
import { pauseFor, Silence, within } from './silence.ts';

const data = workerData as DestinationMoverData;
const { options, shared } = data;
const control = new ControlBlock(shared.control, shared.spec.vcpuCount);
const board = progressBoard(data.board);
const ending = new AbortController();
const holdMs = longestHoldMs(options.failpoints);
const silence = new Silence('the source', DEADLINES_MS.dataSilence + holdMs, ending.signal);
const failpoints = new Failpoints(
  options.failpoints,
  { held: (point) => post({ type: 'held', point }), released: () => post({ type: 'released' }) },
  ending.signal,
);
const side = new DestinationSide(data, silence, board, {
  beforeResume: () => failpoints.reach('before-resume'),
  leaseEnded: () => post({ type: 'commit-missing', reason: "COMMIT came when this host's lease had ended" }),
});

function post(message: FromDestinationMover): void {
  parentPort?.postMessage(message);
}

function onMessage(message: ToDestinationMover): void {
  switch (message.type) {
    case 'release-failpoint':
      failpoints.release();
      break;
    case 'stop':
      ending.abort(new Error(message.reason));
      break;
    case 'resume':
      side.resume();
      break;
  }
}

/** Until everything is here. */
async function receive(): Promise<void> {
  await within(side.connect(), DEADLINES_MS.dataConnect, ending.signal).catch((error: unknown) => {
    const source = `${data.sourceAddress}:${data.sourcePort}`;
    throw new Error(`connecting to the source at ${source}: ${(error as Error).message}`);
  });
  post({ type: 'connected' });
  let told = side.receivedBytes;
  const alive = setInterval(() => {
    if (side.receivedBytes !== told) side.sayAlive();
    told = side.receivedBytes;
  }, MOVER_LIMITS.aliveIntervalMs);
  try {
    await silence.during('the rest of the guest', side.whole.promise);
  } finally {
    clearInterval(alive);
  }
  post({ type: 'ready', ledgerDigest: side.ledgerDigest });
}

/**
 * From READY until the guest runs here, by COMMIT or by the witness's word; only the main thread ends the
 * wait.
 */
async function takeOver(): Promise<void> {
  const resumed = side.resumed.promise;
  try {
    await within(Promise.race([resumed, side.lost.promise]), DEADLINES_MS.commitAnswer, ending.signal);
  } catch (error) {
    ending.signal.throwIfAborted();
    post({ type: 'commit-missing', reason: error instanceof Error ? error.message : String(error) });
  }
  const stopped = Promise.withResolvers<never>();
  ending.signal.addEventListener('abort', () => stopped.reject(ending.signal.reason as Error));
  ending.signal.throwIfAborted();
  post({ type: 'resumed', resumedAtMs: await Promise.race([resumed, stopped.promise]) });
}

/** Post-copy: until every page is here and the source knows it. */
async function demand(): Promise<void> {
  const { paging } = side;
  if (!paging.isActive) return;
  const alive = setInterval(() => side.sayAlive(), MOVER_LIMITS.aliveIntervalMs);
  try {
    for (let lost: Error | undefined; ; ) {
      try {
        if (lost !== undefined) await recover(lost);
        await silence.during('the missing pages', Promise.race([paging.complete.promise, side.lost.promise]));
        side.sayComplete();
        await silence.during('the ledger', Promise.race([side.ledger.promise, side.lost.promise]));
        return;
      } catch (error) {
        lost = error instanceof Error ? error : new Error(String(error));
        if (lost instanceof SourceGaveUp || side.isLedgerComing) throw lost;
        ending.signal.throwIfAborted();
      }
    }
  } finally {
    clearInterval(alive);
  }
}

/** Connects again after the link was lost. Meanwhile vCPUs that need a page sleep, and the others run on. */
async function recover(lost: Error): Promise<void> {
  const pausedAtMs = nowMs();
  const untilMs = pausedAtMs + options.recoveryLimitMs;
  for (;;) {
    try {
      await within(side.reconnect(), DEADLINES_MS.query, ending.signal);
      break;
    } catch (error) {
      ending.signal.throwIfAborted();
      const { message } = error as Error;
      if (error instanceof SourceGaveUp) throw error;
      if (nowMs() > untilMs) throw new SourceGaveUp(`${lost.message}; connecting again: ${message}`);
    }
    await pauseFor(MOVER_LIMITS.reconnectIntervalMs, ending.signal);
  }
  recovery.count++;
  recovery.pausedMs += nowMs() - pausedAtMs;
}

function postcopyReport(): PostcopyDestinationReport | undefined {
  const { paging } = side;
  if (!paging.isActive) return undefined;
  const statistics = readFaultStatistics(shared.faults);
  return {
    completeAtMs: paging.completeAtMs,
    placedPages: BigInt(paging.placedPages),
    faults: BigInt(statistics.faults),
    requests: BigInt(paging.requests),
    blocktimeMs: statistics.blocktimeMs,
    vcpuBlocktimeMs: statistics.vcpuBlocktimeMs,
    faultLatency: statistics.latency.map(({ upToMs, faults }) => ({ upToMs, faults: BigInt(faults) })),
    faultLatencyMaxMs: statistics.latencyMaxMs,
    recoveries: recovery.count,
    pausedMs: recovery.pausedMs,
  };
}

const recovery = { count: 0, pausedMs: 0 };
let reason = '';
let ledgerArrived = false;
parentPort?.on('message', onMessage);
try {
  await receive();
  await takeOver();
  await demand();
  await within(side.ledger.promise, DEADLINES_MS.ledger + holdMs, ending.signal);
  ledgerArrived = true;
} catch (error) {
  reason = error instanceof Error ? error.message : String(error);
  control.tryHandover(HANDOVER.NONE, HANDOVER.ABANDONED);
}
side.close(ledgerArrived ? undefined : reason);
post({
  type: 'ended',
  reason,
  ledgerArrived,
  report: {
    ...side.times,
    receivedBytes: BigInt(side.receivedBytesAtCommit || side.receivedBytes),
    refused: BigInt(board.refused),
    clockOffsetMs: side.clock.offsetMs,
    clockErrorMs: side.clock.errorMs,
    postcopy: postcopyReport(),
  },
});
