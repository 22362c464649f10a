/** `godwit dirty-rate`: how fast a guest writes pages, without moving it. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  DEFAULT_DIRTY_RATE,
  DIRTY_RATE_LIMITS,
  DIRTY_RATE_MODES,
  type DirtyRateModeName,
  dirtyRateProblems,
} from '../../proto/dirty-rate.ts';
import { duration } from '../../spec/units.ts';
import { UsageError } from '../exit.ts';
import { entityName, type TestbedOptions, wholeNumber, withClient, withTestbed } from '../options.ts';
import { dirtyRateText } from '../render/dirty-rate-text.ts';
import { printJson } from '../render/json.ts';

const EXAMPLES = `
Modes, the first three as QEMU's calc-dirty-rate has them:
  page-sampling  hashes of some pages, before and after: cheap, and a rough estimate
  dirty-bitmap   the dirty marks of all pages: exact; a page counts once
  dirty-ring     write faults, for each vCPU; a page counts once a second
  working-set    how the number of written pages grows with time, which are used at all, what they hold

What was really written stands beside what was measured, and what it cost the guest. A page that is written
often counts once: the longer one watches, the smaller the rate. The dirty marks belong to a migration while one
moves the guest: then only page-sampling is possible, and a migration that begins ends the other modes.

Examples:
  godwit dirty-rate web
  godwit dirty-rate web --mode dirty-ring --calc-time 5s
  godwit dirty-rate web --mode page-sampling --sample-pages 4096
  godwit dirty-rate web --mode working-set --calc-time 500ms --json`;

interface Options extends TestbedOptions {
  readonly mode: DirtyRateModeName;
  readonly calcTime: number;
  readonly samplePages?: number;
}

export function addDirtyRate(program: Command): void {
  const { samplePagesMin, samplePagesMax } = DIRTY_RATE_LIMITS;
  const command = program
    .command('dirty-rate')
    .description('measure how fast a guest writes pages, without moving it')
    .argument('<guest>', 'its name', entityName)
    .addOption(
      new Option('--mode <mode>', 'how').choices(DIRTY_RATE_MODES.names).default(DEFAULT_DIRTY_RATE.mode),
    )
    .addOption(
      new Option('--calc-time <time>', 'how long, 10ms to 60s')
        .argParser(calcTime)
        .default(DEFAULT_DIRTY_RATE.calcTimeMs, '1s'),
    )
    .option(
      '--sample-pages <count>',
      `pages of each GiB, for page-sampling (default: ${DEFAULT_DIRTY_RATE.samplePages})`,
      wholeNumber(samplePagesMin, samplePagesMax),
    );
  withTestbed(command).addHelpText('after', EXAMPLES).action(dirtyRate);
}

async function dirtyRate(guest: string, { coordinator, json, ...options }: Options): Promise<void> {
  const { mode, calcTime: calcTimeMs, samplePages = 0 } = options;
  const asked = { mode: DIRTY_RATE_MODES.of(mode), calcTimeMs, samplePages };
  const problems = dirtyRateProblems(asked);
  if (problems.length > 0) throw new UsageError(problems.join('\n'));
  const report = await withClient(coordinator, (client) => client.measureDirtyRate(guest, asked));
  if (json) printJson(report);
  else console.log(dirtyRateText(guest, report));
}

function calcTime(text: string): number {
  const { calcTimeMsMin, calcTimeMsMax } = DIRTY_RATE_LIMITS;
  const ms = duration.parse(text);
  if (ms !== undefined && ms >= calcTimeMsMin && ms <= calcTimeMsMax) return ms;
  throw new InvalidArgumentError(
    `Allowed is ${duration.allowed}, from ${calcTimeMsMin} ms to ${calcTimeMsMax / 1000} s.`,
  );
}
