/** `godwit migrate`: moves a guest, and shows how it goes. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { TestbedClient } from '../../experiment/testbed-client.ts';
import type { OperationSeries } from '../../proto/generated/godwit/v1/guest.ts';
import {
  type MigrationOptions,
  MigrationPhase,
  type MigrationReport,
} from '../../proto/generated/godwit/v1/migration.ts';
import { trialRecord } from '../../records/trial-record.ts';
import { EXIT } from '../exit.ts';
import { addMigrationFlags, migrationFromFlags } from '../flags-to-spec.ts';
import { catchInterrupts } from '../interrupts.ts';
import { entityName, type TestbedOptions, withClient, withTestbed } from '../options.ts';
import { ProgressDisplay } from '../render/progress-display.ts';
import { summaryText } from '../render/summary.ts';

const EXAMPLES = `
What is not said has QEMU's default where it has one (docs/experiments.md). Ctrl-C cancels the migration.

Examples:
  godwit migrate web
  godwit migrate web --to host-2 --technique stop-and-copy
  godwit migrate web --max-bandwidth 200mbit --downtime-limit 50ms --on-timeout abort
  godwit migrate web --technique auto --max-downtime 50ms
  godwit migrate web --audit --json`;

/** So that the guest's operations after the move are in the figures. */
const SETTLE_MS = 500;

interface MigrateOptions extends TestbedOptions {
  readonly to?: string;
  readonly audit: boolean;
  readonly predict: boolean;
}

export function addMigrate(program: Command): void {
  const command = program
    .command('migrate')
    .description('move a guest to another host')
    .argument('<guest>', 'its name', entityName)
    .option('--to <host>', 'where to (default: the other host with the most room)', entityName)
    .option('--predict', 'predict it before it begins; auto always does', false)
    .option('--audit', 'prove afterwards that every page has come', false);
  withTestbed(addMigrationFlags(command)).addHelpText('after', EXAMPLES).action(migrate);
}

async function migrate(guest: string, options: MigrateOptions): Promise<void> {
  const settings = migrationFromFlags({ ...options });
  const interrupted = catchInterrupts();
  await withClient(options.coordinator, async (client) => {
    const report = await move(client, guest, settings, options, interrupted);
    if (report.phase !== MigrationPhase.MIGRATION_PHASE_COMPLETED) process.exitCode = EXIT.failed;
    interrupted.throwIfAborted();
    const audit = options.audit && report.owner !== '' ? await client.auditGuest(guest) : null;
    if (audit !== null && audit.faultCount > 0n) process.exitCode = EXIT.failed;
    const record = trialRecord({
      trial: 1,
      report,
      destinationSeries: await seriesAfter(client, report),
      audit,
      requestedPagesPerS: null,
      achievedPagesPerS: null,
    });
    // The record of docs/metrics.md, as in results.json; the owner is who has the guest now.
    if (options.json)
      console.log(JSON.stringify({ ...record, guest, owner: report.owner || null }, undefined, 2));
    else {
      const where = report.owner || 'no host: it was lost';
      console.log(`${summaryText([record])}\n\nguest ${guest} is on ${where}`);
    }
  });
}

async function move(
  client: TestbedClient,
  guest: string,
  settings: MigrationOptions,
  { to, json, predict }: MigrateOptions,
  signal: AbortSignal,
): Promise<MigrationReport> {
  const display = new ProgressDisplay(json ? process.stderr : process.stdout);
  try {
    return await client.migrate({
      guest,
      destination: to ?? '',
      options: settings,
      predict,
      progress: (progress) => display.migration(settings.technique, progress),
      signal,
    });
  } finally {
    display.end();
  }
}

async function seriesAfter(client: TestbedClient, report: MigrationReport): Promise<OperationSeries> {
  const none: OperationSeries = { atMs: [], operations: [], pageWrites: [] };
  if (report.owner === '' || report.owner !== report.destination) return none;
  await sleep(SETTLE_MS);
  return (await client.guestStats(report.guest, 0)).series ?? none;
}
