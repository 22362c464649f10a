/**
 * Flags that say the same as a spec's keys are held to the same form: they are put into a spec and read as
 * one. So the command line has the spec's units, defaults, limits and messages.
 */
import type { Command } from 'commander';
import { parseDocument } from 'yaml';
import {
  BANDWIDTH_RULES,
  DOWNTIME_RAMPS,
  FREE_PAGES,
  SKIPS,
  STOP_RULES,
  THROTTLES,
} from '../proto/convergence.ts';
import type { GuestSpec } from '../proto/generated/godwit/v1/guest.ts';
import type { MigrationOptions } from '../proto/generated/godwit/v1/migration.ts';
import { AUTO, TECHNIQUES, TECHNIQUES_ASKED, type TechniqueAsked, WORKLOADS } from '../proto/names.ts';
import { OR_A_LIST } from '../spec/fields.ts';
import { parseSpec } from '../spec/parse-spec.ts';
import { SpecError } from '../spec/problems.ts';
import type { ResolvedSpec } from '../spec/resolve.ts';
import { UsageError } from './exit.ts';

/** Where a flag's value stands in a spec, and how its text becomes the spec's value. */
interface SpecFlag {
  readonly flag: string;
  readonly path: readonly string[];
  readonly help: string;
  readonly value: 'text' | 'number' | 'boolean' | 'true' | 'list';
}

/** A flag whose name is the spec's key. */
function keyOf(section: readonly string[]) {
  return (flag: string, value: SpecFlag['value'], help: string): SpecFlag => {
    return { flag, path: [...section, flagName(flag)], help, value };
  };
}

const guest = keyOf(['guest']);
const content = keyOf(['guest', 'content']);
const workload = keyOf(['guest', 'workload']);
const migration = keyOf(['migration']);
const goal = keyOf(['migration', 'goal']);

const GUEST_FLAGS: readonly SpecFlag[] = [
  guest('--memory <size>', 'text', 'memory, such as 256MiB'),
  guest('--vcpus <count>', 'number', 'how many vCPU threads'),
  guest('--device-state <size>', 'text', 'size of the device state that travels in the pause'),
  keyOf([])('--seed <number>', 'number', 'decides content and workload'),
  content('--zero <share>', 'number', 'share of pages that are zero at boot'),
  content('--duplicate <share>', 'number', 'share of pages that are copies within the guest'),
  content('--shared <share>', 'number', 'share of pages that all guests have alike'),
  content('--image <size>', 'text', 'size of what such pages are copies of'),
  content('--compressible <share>', 'number', "share of the other pages' bytes that compress away"),
  content('--free <share>', 'number', "share of pages that are on the kernel's free list"),
  content('--free-churn <rate>', 'text', "how fast the kernel takes and frees them, such as '500 pages/s'"),
  {
    flag: '--workload <kind>',
    path: ['guest', 'workload', 'kind'],
    help: `what it runs: ${WORKLOADS.join(', ')}`,
    value: 'text',
  },
  workload('--rate <rate>', 'text', "target rate, such as '5000 pages/s', '500 ops/s' or unlimited"),
  workload('--working-set <size>', 'text', 'memory that the workload writes'),
  workload('--hot <share>', 'number', 'hot-cold: share of writes to the working set'),
  workload('--theta <number>', 'number', 'zipf, kv, web: how skewed the choice is'),
  workload('--read <share>', 'number', 'kv, web: share of reads'),
  workload('--scan <share>', 'number', 'kv: share of scans'),
  workload('--scan-length <count>', 'number', 'kv: records that a scan reads'),
  workload('--pages-per-request <count>', 'number', 'web: pages that a response is made from'),
  workload('--response-size <size>', 'text', "web: size of a response's body"),
  workload('--trace <file>', 'text', 'trace: a file of lines "time-ms page"'),
];

const MIGRATION_FLAGS: readonly SpecFlag[] = [
  migration('--technique <name>', 'text', `how: ${TECHNIQUES_ASKED.join(', ')} (default: pre-copy)`),
  goal('--max-downtime <time>', 'text', 'auto: what the pause may take'),
  goal('--max-total-time <time>', 'text', 'auto: what the whole may take'),
  goal('--max-degradation <percent>', 'number', 'auto: what of its work the guest may lose meanwhile'),
  goal('--may-lose-on-link-failure', 'true', 'auto: post-copy and hybrid may be chosen'),
  migration('--channels <count>', 'number', 'connections that carry pages'),
  migration('--max-bandwidth <bandwidth>', 'text', 'such as 1gbit, 64MiB/s or unlimited'),
  migration('--limit-final-round', 'true', 'max-bandwidth also holds back what is sent in the pause'),
  migration('--downtime-limit <time>', 'text', 'switch over once the rest should take less than this'),
  migration('--max-rounds <count>', 'number', 'after this many rounds --on-timeout is done'),
  migration('--min-dirty-pages <count>', 'number', 'switch over when no more pages are dirty'),
  migration('--total-time-limit <time>', 'text', 'after this time --on-timeout is done'),
  migration('--on-timeout <what>', 'text', 'abort, stop-and-copy or post-copy, when it does not converge'),
  migration('--completion-timeout-per-gib <time>', 'text', 'after this time per GiB --on-timeout is done'),
  migration('--progress-timeout <time>', 'text', 'after this time without progress --on-timeout is done'),
  migration('--stop-rule <name>', 'text', `when rounds end: ${STOP_RULES.names.join(', ')}`),
  migration('--downtime-ramp <name>', 'text', `how the limit grows: ${DOWNTIME_RAMPS.names.join(', ')}`),
  migration('--downtime-ramp-step <time>', 'text', "the ramp's time between two steps"),
  migration('--stall-progress-timeout <time>', 'text', 'stall-detector: its window'),
  migration('--throttle <name>', 'text', `how a guest is slowed: ${THROTTLES.names.join(', ')}`),
  migration('--throttle-trigger-threshold <percent>', 'number', 'all but sdps: of what was sent'),
  migration('--throttle-period <time>', 'text', 'all but sdps: between two looks at what was dirtied'),
  migration('--cpu-throttle-initial <percent>', 'number', 'auto-converge: at first'),
  migration('--cpu-throttle-increment <percent>', 'number', 'auto-converge: more each time'),
  migration('--max-cpu-throttle <percent>', 'number', 'auto-converge: at most'),
  migration('--cpu-throttle-tailslow', 'true', 'auto-converge: smaller steps near the end'),
  migration('--vcpu-dirty-limit <bandwidth>', 'text', 'dirty-limit: what each vCPU may dirty'),
  migration('--stun-quota <count>', 'number', 'stunning: write faults before a vCPU waits'),
  migration('--skip <name>', 'text', `pages left for later: ${SKIPS.names.join(', ')}`),
  migration('--dirty-last', 'true', 'send those pages last that are most likely to be written'),
  migration('--free-pages <name>', 'text', `what becomes of them: ${FREE_PAGES.names.join(', ')}`),
  migration(
    '--bandwidth-rule <name>',
    'text',
    `what is taken of the link: ${BANDWIDTH_RULES.names.join(', ')}`,
  ),
  migration('--min-bandwidth <bandwidth>', 'text', 'clark: what the first round takes'),
  migration('--push <how>', 'text', 'post-copy, hybrid: none, sequential or bubbling'),
  migration('--pivots <count>', 'number', 'bubbling: how many bubbles there are at most'),
  migration('--bubble <sides>', 'text', 'bubbling: dual or forward'),
  migration('--accessed-first', 'true', 'push what the guest has lately accessed before the rest'),
  migration(
    '--postcopy-preempt <which>',
    'boolean',
    'true (default): demanded pages have their own connection',
  ),
  migration('--max-postcopy-bandwidth <bandwidth>', 'text', 'what the push may use of the link'),
  migration(
    '--recovery <who>',
    'text',
    'a lost link of a post-copy: automatic, or manual for godwit recover',
  ),
  migration('--recovery-limit <time>', 'text', 'for so long a lost link of a post-copy may be made good'),
  migration('--switch-after-rounds <count>', 'number', 'hybrid: switch after so many rounds'),
  migration(
    '--switch-after-share <share>',
    'number',
    'hybrid: switch when so much of the memory has been sent',
  ),
  migration('--switch-after <time>', 'text', 'hybrid: switch after this time'),
  migration('--hot-set <share>', 'number', 'hybrid: at most so much of the memory travels in the pause'),
  migration('--transforms <list>', 'list', "what pages pass, such as 'zero, dedup, compression: lz4'"),
];

function flagName(flag: string): string {
  return flag.slice(2).split(' ')[0] ?? '';
}

/** The name under which commander keeps an option's value. */
function optionKey(flag: string): string {
  return flagName(flag).replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

export function addGuestFlags(command: Command): Command {
  for (const { flag, help } of GUEST_FLAGS) command.option(flag, help);
  return command;
}

export function addMigrationFlags(command: Command): Command {
  for (const { flag, help } of MIGRATION_FLAGS) command.option(flag, help);
  return command;
}

type FlagValues = Readonly<Record<string, unknown>>;

/** The first flag for a guest that was given, or undefined. */
export function guestFlagGiven(values: FlagValues): string | undefined {
  const given = GUEST_FLAGS.find(({ flag }) => values[optionKey(flag)] !== undefined);
  return given === undefined ? undefined : `--${flagName(given.flag)}`;
}

/**
 * @param hasClients whether there will be clients, which then are its work unless a rate is given
 * @throws UsageError that names the flags.
 */
export function guestFromFlags(name: string, values: FlagValues, hasClients = false): GuestSpec {
  const clients = hasClients ? { clients: {} } : {};
  const spec = { guest: { name }, migration: { technique: TECHNIQUES[0] }, ...clients };
  return readAsSpec(spec, GUEST_FLAGS, values).guest;
}

/** Whether there is a goal: then a technique is chosen for it unless one is named. */
function goalFlagGiven(values: FlagValues): boolean {
  return MIGRATION_FLAGS.some(
    ({ flag, path }) => path[1] === 'goal' && values[optionKey(flag)] !== undefined,
  );
}

/** @throws UsageError that names the flags. */
export function migrationFromFlags(values: FlagValues): MigrationOptions {
  const isChosen = values.technique === undefined && goalFlagGiven(values);
  const technique: TechniqueAsked = isChosen ? AUTO : 'pre-copy';
  const spec = { guest: {}, migration: { technique } };
  const [variant] = readAsSpec(spec, MIGRATION_FLAGS, values).variants;
  return variant!.options;
}

function readAsSpec(base: object, flags: readonly SpecFlag[], values: FlagValues): ResolvedSpec {
  const spec = structuredClone(base) as Record<string, unknown>;
  for (const { flag, path, value: kind } of flags) {
    const given = values[optionKey(flag)];
    if (given !== undefined) put(spec, path, specValue(given, kind));
  }
  try {
    // JSON is YAML; a trace's path begins in the current folder.
    return parseSpec(JSON.stringify(spec), 'command-line');
  } catch (error) {
    if (error instanceof SpecError) throw new UsageError(flagProblems(error, flags));
    throw error;
  }
}

/** What cannot be read is left as it is, for the form to refuse. */
function specValue(given: unknown, kind: SpecFlag['value']): unknown {
  if (kind === 'boolean') return given === 'true' || (given === 'false' ? false : given);
  // As between the brackets of a YAML list.
  if (kind === 'list') return listOf(String(given)) ?? given;
  if (kind !== 'number') return given;
  const value = Number(given);
  return given === '' || Number.isNaN(value) ? given : value;
}

function listOf(text: string): unknown {
  const { errors, contents } = parseDocument(`[${text}]`);
  return errors.length === 0 ? contents?.toJSON() : undefined;
}

function put(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [key, ...rest] = path as [string, ...string[]];
  if (rest.length === 0) target[key] = value;
  else {
    target[key] ??= {};
    put(target[key] as Record<string, unknown>, rest, value);
  }
}

function flagProblems(error: SpecError, flags: readonly SpecFlag[]): string {
  const lines = error.problems.map(({ path, message }) => {
    const flag = flags.find((each) => `${path}[`.startsWith(`${each.path.join('.')}[`));
    // A flag has one value.
    const said = message.replace(OR_A_LIST, '');
    return `${flag === undefined ? path : `--${flagName(flag.flag)}`}: ${said}`;
  });
  return lines.join('\n');
}
