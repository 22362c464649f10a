/** One migration as one line: where it is, how fast it goes, and when it will be over. */
import {
  MigrationPhase,
  type MigrationProgress,
  type PostcopyArrival,
} from '../../proto/generated/godwit/v1/migration.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { bytesText, countText, durationText, percentText } from './measures.ts';

/** QEMU's words for the phases; what they mean is in the contract. */
export function phaseText(phase: MigrationPhase): string {
  switch (phase) {
    case MigrationPhase.MIGRATION_PHASE_UNSPECIFIED:
      return 'unknown';
    case MigrationPhase.MIGRATION_PHASE_SETUP:
      return 'setup';
    case MigrationPhase.MIGRATION_PHASE_ACTIVE:
      return 'active';
    case MigrationPhase.MIGRATION_PHASE_DEVICE:
      return 'device';
    case MigrationPhase.MIGRATION_PHASE_COMPLETED:
      return 'completed';
    case MigrationPhase.MIGRATION_PHASE_FAILED:
      return 'failed';
    case MigrationPhase.MIGRATION_PHASE_CANCELLING:
      return 'cancelling';
    case MigrationPhase.MIGRATION_PHASE_CANCELLED:
      return 'cancelled';
    case MigrationPhase.MIGRATION_PHASE_POSTCOPY_ACTIVE:
      return 'postcopy-active';
    case MigrationPhase.MIGRATION_PHASE_POSTCOPY_PAUSED:
      return 'postcopy-paused';
    case MigrationPhase.MIGRATION_PHASE_POSTCOPY_RECOVER:
      return 'postcopy-recover';
  }
}

/** The line, what matters most first, since a narrow terminal cuts its end; what is not known yet is left out. */
export function progressText(progress: MigrationProgress): string {
  const { round, roundPages, roundPagesSent, remainingMs, arrival } = progress;
  const parts = [phaseText(progress.phase)];
  // They are over when the guest runs at the destination.
  const hasRounds = progress.phase < MigrationPhase.MIGRATION_PHASE_POSTCOPY_ACTIVE;
  if (round > 0 && hasRounds) parts.push(`round ${round}`);
  if (roundPages > 0n) {
    const share = (Number(roundPagesSent) / Number(roundPages)) * 100;
    parts.push(`${percentText(share)} of ${bytesText(Number(roundPages) * PAGE_BYTES)}`);
  }
  if (remainingMs > 0) parts.push(`ETA ${durationText(remainingMs)}`);
  if (remainingMs < 0) parts.push('ETA none: it does not converge');
  if (progress.expectedDowntimeMs > 0) {
    parts.push(`expected downtime ${durationText(progress.expectedDowntimeMs)}`);
  }
  if (arrival !== undefined) parts.push(...arrivalParts(progress, arrival));
  if (progress.postcopyRequests > 0n) parts.push(`${countText(Number(progress.postcopyRequests))} requests`);
  if (progress.bandwidthBytesPerS > 0) parts.push(`${bytesText(progress.bandwidthBytesPerS)}/s`);
  if (progress.dirtyRatePagesPerS > 0) {
    parts.push(`dirty rate ${countText(progress.dirtyRatePagesPerS)} pages/s`);
  }
  parts.push(`sent ${bytesText(Number(progress.transferredBytes))}`);
  if (progress.switchRequestedMs > 0) {
    parts.push(`switched by hand after ${durationText(progress.switchRequestedMs)}`);
  }
  if (progress.failpoint !== '') parts.push(`at failpoint ${progress.failpoint}`);
  if (progress.note !== '') parts.push(progress.note);
  return parts.join('  ');
}

/** Of a guest that runs before its pages are there. */
function arrivalParts(progress: MigrationProgress, arrival: PostcopyArrival): string[] {
  const { faults, blocktimeMs, waitingVcpus, paused } = arrival;
  const pushed = countText(Number(progress.postcopyPushedPages));
  const parts = [
    `pushed ${pushed} of ${countText(Number(progress.roundPages))} missing pages`,
    `${countText(Number(faults))} faults`,
    `blocktime ${durationText(blocktimeMs)}`,
  ];
  if (paused) parts.unshift('no link: see `godwit recover`');
  if (waitingVcpus > 0) parts.push(`${waitingVcpus} ${waitingVcpus === 1 ? 'vCPU waits' : 'vCPUs wait'}`);
  return parts;
}
