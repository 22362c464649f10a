/** `godwit load`: asks a guest for something, at a rate that does not wait for it, and tells what came back. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { LOAD_LIMITS } from '../../clients/limits.ts';
import { LoadGenerator } from '../../clients/load-generator.ts';
import {
  CLIENT_ARRIVALS,
  CLIENT_LIMITS,
  CLIENT_PROTOCOLS,
  DEFAULT_CLIENT_LOAD,
  type LoadReport,
  type LoadSettings,
} from '../../proto/client-load.ts';
import { duration } from '../../spec/units.ts';
import { EXIT, UsageError } from '../exit.ts';
import { catchInterrupts } from '../interrupts.ts';
import { address, wholeNumber } from '../options.ts';
import { printJson } from '../render/json.ts';
import { countText, durationText, orUnknown } from '../render/measures.ts';
import { tableText } from '../render/table.ts';

const EXAMPLES = `
Requests are due at their own times, whether or not earlier ones have been answered, and each latency counts from the
moment when the request was due. Ctrl-C ends the load early. The exit code is 1 when an answer was wrong.

Examples:
  godwit load 127.0.0.1:40123
  godwit load 127.0.0.1:40123 --protocol tcp --rate 200 --duration 30s --arrivals poisson`;

interface LoadOptions extends Omit<LoadSettings, 'address' | 'ratePerS' | 'timeoutMs'> {
  readonly rate: number;
  readonly duration: number;
  readonly timeout: number;
  readonly json: boolean;
}

const DURATION_MS_MAX = 86_400_000;

export function addLoad(program: Command): void {
  const { ratePerS, arrivals, read, keys, timeoutMs } = DEFAULT_CLIENT_LOAD;
  const { ratePerSMin, ratePerSMax, keysMax, timeoutMsMin, timeoutMsMax } = CLIENT_LIMITS;
  program
    .command('load')
    .description('ask a guest for something, and measure its answers')
    .argument('<address>', "the guest's: a forwarder's for it, or its own", address)
    .addOption(new Option('--protocol <name>', 'how').choices(CLIENT_PROTOCOLS).default('udp'))
    .option('--rate <number>', 'requests per second', numberFrom(ratePerSMin, ratePerSMax), ratePerS)
    .option('--duration <time>', 'for how long', timeFrom(1, DURATION_MS_MAX), 10_000)
    .addOption(
      new Option('--arrivals <name>', 'when requests are due').choices(CLIENT_ARRIVALS).default(arrivals),
    )
    .option('--read <share>', 'the share of requests that only read', numberFrom(0, 1), read)
    .option('--keys <count>', 'how many keys', wholeNumber(1, keysMax), keys)
    .option('--seed <number>', 'decides what is asked', wholeNumber(0, Number.MAX_SAFE_INTEGER), 1)
    .option('--timeout <time>', 'then a request is lost', timeFrom(timeoutMsMin, timeoutMsMax), timeoutMs)
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(load);
}

async function load(where: string, options: LoadOptions): Promise<void> {
  const { rate: ratePerS, duration: durationMs, timeout: timeoutMs, json, ...choices } = options;
  if ((ratePerS * durationMs) / 1000 > LOAD_LIMITS.samplesMax) {
    throw new UsageError(
      `--rate ${ratePerS} for ${durationText(durationMs)} is more than ${countText(LOAD_LIMITS.samplesMax)} ` +
        'requests; ask for a lower rate or a shorter time',
    );
  }
  const interrupted = catchInterrupts();
  const failed = new AbortController();
  const settings = { address: where, ratePerS, timeoutMs, ...choices };
  const generator = await LoadGenerator.start(settings, (error) => failed.abort(error));
  try {
    const signal = AbortSignal.any([interrupted, failed.signal]);
    await sleep(durationMs, undefined, { signal }).catch(() => {});
    failed.signal.throwIfAborted();
    const report = await generator.finish(undefined);
    if (json) printJson(report);
    else console.log(reportText(report));
    if (report.wrong > 0) process.exitCode = EXIT.failed;
  } finally {
    generator.close();
  }
  interrupted.throwIfAborted();
}

function reportText({ latencyMs: { before }, gap, ...report }: LoadReport): string {
  const { p50, p90, p99, p999, max } = before;
  const { sent, answered, lost, late, wrong, reconnects } = report;
  const latencies = [p50, p90, p99, p999, max].map((value) => orUnknown(value, durationText));
  return [
    tableText(
      ['SENT', 'ANSWERED', 'LOST', 'LATE', 'WRONG', 'RECONNECTS'],
      [[sent, answered, lost, late, wrong, reconnects].map(countText)],
      0,
    ),
    '',
    tableText(['P50', 'P90', 'P99', 'P99.9', 'MAX', 'LONGEST GAP'], [[...latencies, gapText(gap)]], 0),
  ].join('\n');
}

function gapText(gap: LoadReport['gap']): string {
  return orUnknown(gap?.ms, durationText);
}

function numberFrom(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Allowed is a number from ${min} to ${max}.`);
  };
}

function timeFrom(minMs: number, maxMs: number): (text: string) => number {
  return (text) => {
    const ms = duration.parse(text);
    if (ms !== undefined && ms >= minMs && ms <= maxMs) return ms;
    throw new InvalidArgumentError(
      `Allowed is ${duration.allowed}, from ${duration.format(minMs)} to ${duration.format(maxMs)}.`,
    );
  };
}
