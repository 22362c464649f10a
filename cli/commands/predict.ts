/** `godwit predict`: what each technique would take to move a guest, without moving it. */
import type { Command } from 'commander';
import type { CoordinatorServicePredictMigrationResponse } from '../../proto/generated/godwit/v1/coordinator.ts';
import type {
  PredictedValue,
  Prediction,
  PredictionBasis,
} from '../../proto/generated/godwit/v1/prediction.ts';
import { AUTO } from '../../proto/names.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { addMigrationFlags, migrationFromFlags } from '../flags-to-spec.ts';
import { entityName, type TestbedOptions, withClient, withTestbed } from '../options.ts';
import { printJson } from '../render/json.ts';
import { bitsText, bytesText, countText, durationText, orUnknown, percentText } from '../render/measures.ts';
import { tableText } from '../render/table.ts';

const EXAMPLES = `
The guest is watched and the link is filled for less than a second in all; nothing moves. Each value stands with the
band in which the measured one is expected. With a limit (--max-downtime and its like) a technique is chosen, as
\`godwit migrate --technique auto\` would. docs/decisions.md says how it is reckoned.

Examples:
  godwit predict web --to host-2
  godwit predict web --to host-2 --max-downtime 50ms --may-lose-on-link-failure
  godwit predict web --json`;

interface PredictOptions extends TestbedOptions {
  readonly to?: string;
}

export function addPredict(program: Command): void {
  const command = program
    .command('predict')
    .description('tell what each technique would take to move a guest')
    .argument('<guest>', 'its name', entityName)
    .option('--to <host>', 'where to (default: the other host with the most room)', entityName);
  withTestbed(addMigrationFlags(command)).addHelpText('after', EXAMPLES).action(predict);
}

async function predict(guest: string, options: PredictOptions): Promise<void> {
  const settings = migrationFromFlags({ ...options });
  await withClient(options.coordinator, async (client) => {
    const answer = await client.predict(guest, options.to ?? '', settings);
    if (options.json) printJson(answer);
    else console.log(predictionText(guest, answer));
  });
}

function predictionText(
  guest: string,
  { prediction, source, destination }: CoordinatorServicePredictMigrationResponse,
): string {
  if (prediction === undefined) return `guest ${guest}: nothing was predicted`;
  const where = `guest ${guest}, ${source} to ${destination}`;
  return [
    where,
    orUnknown(prediction.basis, basisText),
    '',
    techniquesText(prediction),
    ...choiceText(prediction),
  ].join('\n');
}

function basisText(basis: PredictionBasis): string {
  const { pageCount, zeroShare, dirtyRatePagesPerS, workingSetPages, written } = basis;
  const memory = `${bytesText(Number(pageCount) * PAGE_BYTES)}, ${percentText(zeroShare * 100)} of it zeroes`;
  const whole = written.at(-1);
  const seen = whole === undefined ? '' : ` (${countText(whole.pages)} pages in ${durationText(whole.ms)})`;
  const set = bytesText(workingSetPages * PAGE_BYTES);
  const dirty = `dirties ${countText(dirtyRatePagesPerS)} pages/s at first${seen}, working set ${set}`;
  const link = `link ${bitsText(basis.bandwidthBytesPerS)}, round trip ${durationText(basis.roundTripMs)}`;
  return `${memory}; ${dirty}\n${link}; probed for ${durationText(basis.probeMs)}`;
}

function techniquesText({ techniques, chosen }: Prediction): string {
  const heads = ['', 'TECHNIQUE', 'TOTAL TIME', 'DOWNTIME', 'TRANSFERRED', 'DEGRADATION', 'ROUNDS', 'ENDS'];
  const rows = techniques.map((each, index) => [
    index === chosen ? '*' : '',
    [each.technique, each.parameters].filter((text) => text !== '').join(', '),
    bandText(each.totalTimeMs, durationText),
    bandText(each.downtimeMs, durationText),
    bandText(each.transferredBytes, bytesText),
    bandText(each.degradationPercent, percentText),
    String(each.rounds),
    each.convergence,
  ]);
  return tableText(heads, rows, 2);
}

function bandText(value: PredictedValue | undefined, text: (value: number) => string): string {
  return orUnknown(value, (known) => `${text(known.value)} (${text(known.low)} to ${text(known.high)})`);
}

function choiceText({ chosen, reason, techniques }: Prediction): string[] {
  const leftOut = [...new Set(techniques.map((each) => each.leftOut))].filter((text) => text !== '');
  return [
    ...leftOut.map((text) => `not reckoned with: ${text}`),
    ...(chosen === undefined ? [] : ['', `${AUTO} takes the one with *: ${reason}`]),
  ];
}
