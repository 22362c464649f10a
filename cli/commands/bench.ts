/** `godwit bench`: what this machine does where a choice depends on it. */
import { type Command, InvalidArgumentError } from 'commander';
import { benchCodec, type CodecRow, codecChoices } from '../codec-bench.ts';
import { printJson } from '../render/json.ts';
import { tableText } from '../render/table.ts';

const EXAMPLES = `
One thread, batches of 256 KiB as migrations send them. RATIO is what is left of a byte, rates are of the
pages: a codec that is slower than the link makes a migration slower. Measure on a quiet machine.

Examples:
  godwit bench codecs
  godwit bench codecs --compressible 0.75 --json`;
const DEFAULT_COMPRESSIBLE = 0.5;
const BYTES_PER_MIB = 1024 ** 2;

interface Options {
  readonly compressible: number;
  readonly json: boolean;
}

export function addBench(program: Command): void {
  program
    .command('bench')
    .description('measure this machine')
    .addHelpText('after', EXAMPLES)
    .command('codecs')
    .description('what each codec makes of guest pages, and how fast')
    .option(
      '--compressible <share>',
      'the share of a page that can be taken away',
      share,
      DEFAULT_COMPRESSIBLE,
    )
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(benchCodecs);
}

function benchCodecs({ compressible, json }: Options): void {
  const rows = codecChoices().map((choice) => benchCodec(choice, compressible));
  if (json) printJson({ compressible, codecs: rows });
  else console.log(codecsText(rows));
}

function codecsText(rows: readonly CodecRow[]): string {
  const rate = (bytesPerS: number): string => `${Math.round(bytesPerS / BYTES_PER_MIB)} MiB/s`;
  const cells = rows.map(({ codec, level, ratio, compressBytesPerS, decompressBytesPerS }) => {
    return [codec, `${level ?? ''}`, ratio.toFixed(3), rate(compressBytesPerS), rate(decompressBytesPerS)];
  });
  return tableText(['CODEC', 'LEVEL', 'RATIO', 'COMPRESS', 'DECOMPRESS'], cells, 1);
}

function share(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError('Allowed is a share from 0 to 1.');
}
