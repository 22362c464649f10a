/** `godwit run`: an experiment, from its spec to its results. */
import type { Command } from 'commander';
import type { TrialLabel } from '../../experiment/observer.ts';
import { runExperiment } from '../../experiment/run-experiment.ts';
import { TestbedClient } from '../../experiment/testbed-client.ts';
import { clientSideOf } from '../../fabric/client-side.ts';
import type { ClientSide, Fabric } from '../../fabric/fabric.ts';
import { startFabric } from '../../fabric/start-fabric.ts';
import type { ResultRecord } from '../../records/result-record.ts';
import { loadSpec } from '../../spec/parse-spec.ts';
import { type ResolvedSpec, withOverrides } from '../../spec/resolve.ts';
import { SPEC_LIMITS } from '../../spec/schema.ts';
import { EXIT } from '../exit.ts';
import { catchInterrupts } from '../interrupts.ts';
import { LEASE_MS, testbedAddress, wholeNumber } from '../options.ts';
import { durationText, orUnknown } from '../render/measures.ts';
import { ProgressDisplay } from '../render/progress-display.ts';
import { succeeded, summaryText } from '../render/summary.ts';
import { variantText } from '../render/variant-text.ts';
import { defaultResultsFolder, makeResultsFolder } from '../results-file.ts';

const EXAMPLES = `
Starts a coordinator and hosts, moves the spec's guest with each technique, audits every page after each
move, prints a table and writes DIR/results.json. The form of a spec is in docs/experiments.md, of the
results in docs/metrics.md.

Examples:
  godwit run experiments/quickstart.yaml
  godwit run experiments/busy.yaml --trials 9 --out results/busy
  godwit run experiments/wan.yaml
  godwit run experiments/quickstart.yaml --json | jq '.trials[].downtime_ms'`;

interface RunOptions {
  readonly out?: string;
  readonly trials?: number;
  readonly seed?: number;
  readonly coordinator?: string;
  readonly json: boolean;
}

export function addRun(program: Command, version: string): void {
  program
    .command('run')
    .description('run an experiment')
    .argument('<spec>', 'the experiment, a YAML file')
    .option('--out <dir>', 'where results.json goes (default: results/NAME-DATE)')
    .option('--trials <count>', "instead of the spec's", wholeNumber(1, SPEC_LIMITS.trialsMax))
    .option('--seed <number>', "instead of the spec's", wholeNumber(0, SPEC_LIMITS.seedMax))
    .option('--coordinator <address>', 'use a testbed that is up instead of starting one', testbedAddress)
    .option('--json', 'print the results as JSON, and nothing else on stdout', false)
    .addHelpText('after', EXAMPLES)
    .action((file: string, options: RunOptions) => run(file, options, version));
}

async function run(file: string, options: RunOptions, version: string): Promise<void> {
  const { trials, seed } = options;
  const spec = withOverrides(loadSpec(file), {
    ...(trials !== undefined && { trials }),
    ...(seed !== undefined && { seed }),
  });
  const folder = makeResultsFolder(options.out ?? defaultResultsFolder(spec.name));
  const interrupted = catchInterrupts();
  const display = new ProgressDisplay(options.json ? process.stderr : process.stdout);
  try {
    const record = await runOnTestbed(spec, options, { version, display, signal: interrupted });
    if (record.trials.length > 0) {
      const path = folder.write(record);
      if (options.json) console.log(JSON.stringify(record, undefined, 2));
      else console.log(`\n${summaryText(record.trials)}\n\nresults: ${path}`);
    }
    interrupted.throwIfAborted();
    if (!record.trials.every(succeeded)) process.exitCode = EXIT.failed;
  } finally {
    display.end();
    folder.removeIfEmpty();
  }
}

interface RunSurroundings {
  readonly version: string;
  readonly display: ProgressDisplay;
  readonly signal: AbortSignal;
}

/**
 * On the testbed at --coordinator, or on one that is started for it and ended afterwards, whatever happens.
 */
async function runOnTestbed(
  spec: ResolvedSpec,
  { coordinator }: RunOptions,
  surroundings: RunSurroundings,
): Promise<ResultRecord> {
  if (coordinator !== undefined) {
    const clientSide = spec.clients && (await clientSideOf(coordinator));
    return await runTrials(spec, { coordinator, clientSide, fabric: undefined }, surroundings);
  }
  const { display, signal } = surroundings;
  const failed = new AbortController();
  display.status(`starting a coordinator and ${spec.fabric.hosts} hosts`);
  const fabric = await startFabric(spec.fabric.kind, {
    hostCount: spec.fabric.hosts,
    // Room for the guests, and for one that an earlier trial could not destroy.
    memoryBytesPerHost: Number(spec.guest.memoryBytes) * (spec.guestCount + 1),
    stateFile: ':memory:',
    leaseMs: LEASE_MS,
    signal,
    died: (part, what) => {
      display.line(what);
      if (part === 'coordinator') failed.abort(new Error(what));
    },
  });
  try {
    const either = AbortSignal.any([signal, failed.signal]);
    const testbed = { coordinator: fabric.coordinatorAddress, clientSide: fabric.client, fabric };
    return await runTrials(spec, testbed, { ...surroundings, signal: either });
  } finally {
    await fabric.close();
  }
}

interface RunTestbed {
  readonly coordinator: string;
  readonly clientSide: ClientSide | undefined;
  /** Undefined when somebody else has started it. */
  readonly fabric: Fabric | undefined;
}

async function runTrials(
  spec: ResolvedSpec,
  { coordinator, clientSide, fabric }: RunTestbed,
  { version, display, signal }: RunSurroundings,
): Promise<ResultRecord> {
  const client = new TestbedClient(coordinator);
  const name = ({ variant, trial, trialCount, guest = '' }: TrialLabel): string => {
    const what = variantText({ technique: variant.technique, variant: variant.name || null });
    const which = trialCount === 1 ? '' : `${trial}/${trialCount}`;
    return [what, which, guest].filter((text) => text !== '').join(' ');
  };
  try {
    // Nobody there: told once, before any trial.
    await client.hosts();
    return await runExperiment({
      spec,
      client,
      clientSide,
      godwitVersion: version,
      signal,
      restartHosts: fabric && (() => restartHosts(fabric, display)),
      observer: {
        step: (label, doing) => display.status(`${name(label)}  ${doing}`),
        progress: (label, progress) => display.migration(name(label), progress),
        ended: (label, record) => {
          display.end();
          const downtime = orUnknown(record.downtime_ms, durationText);
          display.line(`${name(label)}  ${record.status}  downtime ${downtime}`);
        },
      },
    });
  } finally {
    client.close();
  }
}

async function restartHosts(fabric: Fabric, display: ProgressDisplay): Promise<void> {
  for (const { name, running } of fabric.hosts()) {
    if (running) continue;
    display.status(`restarting ${name}`);
    await fabric.restart(name);
  }
}
