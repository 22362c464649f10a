/** `godwit guests`: the guests of a testbed, and who owns each. */
import type { Command } from 'commander';
import type { GuestEntry } from '../../proto/generated/godwit/v1/coordinator.ts';
import { GuestState } from '../../proto/generated/godwit/v1/guest.ts';
import { type TestbedOptions, withClient, withTestbed } from '../options.ts';
import { printJson } from '../render/json.ts';
import { bytesText, orUnknown, UNKNOWN } from '../render/measures.ts';
import { progressText } from '../render/progress-line.ts';
import { tableText } from '../render/table.ts';

const EXAMPLES = `
Examples:
  godwit guests
  godwit guests --json`;

export function addGuests(program: Command): void {
  withTestbed(program.command('guests').description('list the guests of a testbed'))
    .addHelpText('after', EXAMPLES)
    .action(listGuests);
}

async function listGuests({ coordinator, json }: TestbedOptions): Promise<void> {
  const guests = await withClient(coordinator, (client) => client.guests());
  if (json) printJson(guests);
  else if (guests.length === 0) console.log('no guests; make one with `godwit create NAME`');
  else {
    console.log(
      tableText(['GUEST', 'HOST', 'STATE', 'WORKLOAD', 'MOVED BY', 'VCPUS', 'MEMORY'], guests.map(row), 5),
    );
    for (const { spec, lost, nicProblem, progress } of guests) {
      if (progress !== undefined) console.log(`${spec?.name} is being moved: ${progressText(progress)}`);
      if (lost !== '') console.log(`${spec?.name} was lost: ${lost}`);
      if (nicProblem !== '') console.log(`${spec?.name} has no clients: ${nicProblem}`);
    }
  }
}

function row({ spec, owner, state, migration, lost }: GuestEntry): string[] {
  return [
    orUnknown(spec, ({ name }) => name),
    owner || UNKNOWN,
    lost === '' ? stateText(state) : 'lost',
    orUnknown(spec?.workload, ({ kind }) => kind),
    migration || UNKNOWN,
    orUnknown(spec, ({ vcpuCount }) => String(vcpuCount)),
    orUnknown(spec, ({ memoryBytes }) => bytesText(Number(memoryBytes))),
  ];
}

function stateText(state: GuestState): string {
  switch (state) {
    case GuestState.GUEST_STATE_UNSPECIFIED:
      return 'unknown';
    case GuestState.GUEST_STATE_RUNNING:
      return 'running';
    case GuestState.GUEST_STATE_PAUSED:
      return 'paused';
    case GuestState.GUEST_STATE_INCOMING:
      return 'incoming';
    case GuestState.GUEST_STATE_HANDED_OVER:
      return 'handed over';
    case GuestState.GUEST_STATE_PARKED:
      return 'parked';
    case GuestState.GUEST_STATE_FAILED:
      return 'failed';
  }
}
