/**
 * The source's mover: a worker thread that owns the sockets of one outgoing migration and reads the guest's
 * memory. It opens the data port, runs the technique, and sends the ledger. Its owner is outgoing.ts.
 */

import { parentPort, workerData } from 'node:worker_threads';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { MigrationPhase, type SourceReport } from '../../proto/generated/godwit/v1/migration.ts';
import type { Technique } from '../../proto/names.ts';
import { nowMs } from '../clock.ts';
import { ControlBlock } from '../guest/control-block.ts';
import { HANDOVER } from '../guest/control-layout.ts';
import { pageCountOf } from '../guest/shared-guest.ts';
import { WireViolation } from './channel-receiver.ts';
import { Failpoints, longestHoldMs } from './failpoints.ts';
import { sendLedger } from './ledger-transfer.ts';
import type { FromSourceMover, SourceMoverData, ToSourceMover } from './messages.ts';
import { priorityChannels } from './priority-channel.ts';
import { progressBoard } from './progress-board.ts';
import { Silence, within } from './silence.ts';
import type { SourceChannel } from './source-channel.ts';
import type { SourceConnections } from './source-parts.ts';
import { SourceServer } from './source-server.ts';
import { SourceSide } from './source-side.ts';
import { TECHNIQUES } from './techniques/registry.ts';
import { type Side, wireText } from './wire.ts';

/** How long the last word to a destination may take to leave. */
const FAREWELL_MS = 1000;

const data = workerData as SourceMoverData;
const { shared, options } = data;
const pageCount = pageCountOf(shared.spec);
const control = new ControlBlock(shared.control, shared.spec.vcpuCount);
const board = progressBoard(data.board);
const ending = new AbortController();
const silenceMs = DEADLINES_MS.dataSilence + longestHoldMs(options.failpoints);
const silence = new Silence('the destination', silenceMs, ending.signal);
const failpoints = new Failpoints(
  options.failpoints,
  { held: (point) => post({ type: 'held', point }), released: () => post({ type: 'released' }) },
  ending.signal,
);
const begun = Promise.withResolvers<void>();
const decided = Promise.withResolvers<Side>();
begun.promise.catch(() => {});
const server = new SourceServer(
  {
    listenAddress: data.listenAddress,
    migration: data.migration,
    token: data.token,
    pageCount,
    channelCount: options.channels + priorityChannels(options),
  },
  silence,
  () => board.refused++,
);
/** All connections as they are now. */
let channels: readonly SourceChannel[] = [];
let side: SourceSide | undefined;
let setupDoneAtMs = 0;

function post(message: FromSourceMover): void {
  parentPort?.postMessage(message);
}

function onMessage(message: ToSourceMover): void {
  switch (message.type) {
    case 'release-failpoint':
      failpoints.release();
      break;
    case 'stop':
      ending.abort(new Error(message.reason));
      break;
    case 'handover-begun':
      begun.resolve();
      break;
    case 'handover-refused':
      begun.reject(new Error(`the witness did not take the handover down: ${message.reason}`));
      break;
    case 'decided':
      decided.resolve(message.owner);
      break;
  }
}

/** Resolves when all channels are up and the destination is ready for pages. */
async function setUp(): Promise<void> {
  board.phase = MigrationPhase.MIGRATION_PHASE_SETUP;
  post({ type: 'listening', port: await server.listen() });
  channels = await within(server.channels, DEADLINES_MS.dataConnect, ending.signal).catch(
    (error: unknown) => {
      throw new Error(`waiting for the destination's connections: ${(error as Error).message}`);
    },
  );
  for (const channel of channels) channel.onLost(onLost);
  const main = channels[0] as SourceChannel;
  main.answer('ALIVE', () => {});
  main.answer('FAILURE', ({ reason }) => main.lose(new Error(`the destination gave up: ${reason}`)));
  main.answer('PING', ({ sentAtMs }) => main.sender.send('PONG', { sentAtMs, nowMs: nowMs() }));
  await silence.during('START', main.expect('START'));
  main.answer('PING', undefined);
}

/** Before the commit point a lost channel ends the migration; afterwards only who waits on it is told. */
function onLost(error: Error): void {
  if (error instanceof WireViolation) board.refused++;
  if (side?.switching.isCommitted !== true) ending.abort(error);
}

function connections(): SourceConnections {
  const { channels: count } = options;
  return { channels: channels.slice(0, count), priority: channels[count] };
}

/** The destination of a post-copy has lost its connections, and opens them again. */
async function reconnected(): Promise<SourceConnections> {
  channels = await server.reconnected();
  for (const channel of channels) channel.onLost(onLost);
  return connections();
}

async function migrate(): Promise<void> {
  await setUp();
  side = new SourceSide({
    data,
    ...connections(),
    reconnected,
    silence,
    failpoints,
    board,
    witness: {
      beginHandover: async () => {
        post({ type: 'begin-handover' });
        await within(begun.promise, DEADLINES_MS.durable + DEADLINES_MS.query, ending.signal);
      },
      commitUnanswered: () => post({ type: 'commit-unanswered' }),
      resumed: () => {
        server.allowReconnect();
        post({ type: 'resumed' });
      },
      decided: decided.promise,
    },
    signal: ending.signal,
  });
  setupDoneAtMs = nowMs();
  // A guest that came by post-copy a moment ago: from here on each pause finds its vCPUs' states saved.
  control.waitFaultsOver();
  await failpoints.reach('setup');
  board.phase = MigrationPhase.MIGRATION_PHASE_ACTIVE;
  await TECHNIQUES[options.technique as Technique](side);
  post({ type: 'served' });
  await afterwards(channels[0] as SourceChannel, side).catch(() => {
    // The guest is safe at the destination, which then proves it by the digest.
  });
}

/** The ledger follows when the guest runs again. */
async function afterwards(main: SourceChannel, { switching }: SourceSide): Promise<void> {
  if (switching.ledger === undefined) return;
  const done = main.expect('LEDGER_DONE');
  await sendLedger(main.sender, switching.ledger, pageCount);
  await within(done, DEADLINES_MS.ledger, ending.signal);
}

/** Tells the destination, if it still listens, that it will not get the guest. */
async function sayFailure(reason: string): Promise<void> {
  const main = channels[0];
  if (main === undefined) return;
  main.sender.send('FAILURE', { reason: wireText(reason) });
  const never = new AbortController().signal;
  await within(main.sender.flushed(), FAREWELL_MS, never).catch(() => {});
}

function report(): SourceReport {
  const switching = side?.switching;
  const counts = side?.counts;
  const sentBytes = switching?.isCommitted === true ? switching.sentBytes.committed : (side?.sentBytes ?? 0);
  const postcopy = side?.postcopyReport();
  const precopyBytes = switching?.isPaused === true ? switching.sentBytes.paused : sentBytes;
  return {
    acceptedAtMs: data.acceptedAtMs,
    setupDoneAtMs,
    pauseRequestedAtMs: switching?.times.pauseRequestedAtMs ?? 0,
    parkedAtMs: switching?.times.parkedAtMs ?? 0,
    finalPagesSentAtMs: switching?.times.finalPagesSentAtMs ?? 0,
    deviceStateSentAtMs: switching?.times.deviceStateSentAtMs ?? 0,
    readyAtMs: switching?.times.readyAtMs ?? 0,
    commitSentAtMs: switching?.times.commitSentAtMs ?? 0,
    freedAtMs: 0,
    rounds: side?.rounds ?? [],
    transferredBytes: BigInt(sentBytes) + (postcopy?.sentBytes ?? 0n),
    precopyBytes: BigInt(precopyBytes),
    downtimeBytes: BigInt(sentBytes - precopyBytes),
    normalPages: BigInt(counts?.dataPages ?? 0),
    zeroPages: BigInt(counts?.zeroPages ?? 0),
    resentPages: BigInt(counts?.resentPages ?? 0),
    resentBytes: BigInt(counts?.resentBytes ?? 0),
    deviceStateBytes: BigInt(switching?.deviceStateBytes ?? 0),
    convergence: side?.convergence ?? '',
    series: undefined,
    postcopy,
  };
}

parentPort?.on('message', onMessage);
let reason = '';
try {
  await migrate();
} catch (error) {
  // What ended the migration says more than what it led to.
  const cause: unknown = ending.signal.aborted ? ending.signal.reason : error;
  reason = cause instanceof Error ? cause.message : String(cause);
  control.tryHandover(HANDOVER.NONE, HANDOVER.KEPT);
  await sayFailure(reason);
}
server.close();
for (const channel of channels) channel.end();
post({ type: 'ended', reason, report: report() });
