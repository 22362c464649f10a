/** `godwit audit`: proves page by page that a guest is what it wrote. */
import type { Command } from 'commander';
import type { AuditReport } from '../../proto/generated/godwit/v1/guest.ts';
import { EXIT } from '../exit.ts';
import { entityName, type TestbedOptions, withClient, withTestbed } from '../options.ts';
import { printJson } from '../render/json.ts';
import { countText, durationText } from '../render/measures.ts';

const EXAMPLES = `
The guest stands still while it is audited. Exit code 1 when a page is not what the guest last wrote.

Examples:
  godwit audit web`;

export function addAudit(program: Command): void {
  withTestbed(program.command('audit').description('prove that no page of a guest is lost, stale or torn'))
    .argument('<guest>', 'its name', entityName)
    .addHelpText('after', EXAMPLES)
    .action(audit);
}

async function audit(guest: string, { coordinator, json }: TestbedOptions): Promise<void> {
  const report = await withClient(coordinator, (client) => client.auditGuest(guest));
  if (json) printJson(report);
  else for (const line of auditLines(guest, report)) console.log(line);
  if (report.faultCount > 0n) process.exitCode = EXIT.failed;
}

/** The result of an audit, and the first of its faults. */
function auditLines(guest: string, report: AuditReport): string[] {
  const { pagesChecked, faultCount, faults, evidence, durationMs } = report;
  const result = faultCount === 0n ? 'clean' : `${countText(Number(faultCount))} faults`;
  return [
    `guest ${guest}: ${result} (${countText(Number(pagesChecked))} pages checked against the ${evidence} ` +
      `in ${durationText(durationMs)})`,
    ...faults.map(({ page, kind, detail }) => `  page ${page}: ${kind}: ${detail}`),
  ];
}
