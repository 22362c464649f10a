/** `godwit report`: a page with figures from what an experiment measured. */
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { bytesText } from '../render/measures.ts';
import { openResults, resultsPath } from '../results-file.ts';

const EXAMPLES = `
Writes one HTML file that needs nothing else (no network, no script), and beside it each figure as SVG. Trials
that failed, and those whose audit found a fault, are told first and are in no figure. What the figures and
the statistics are is in docs/report.md.

Examples:
  godwit report results/mine
  godwit report results/mine --out mine.html
  godwit report results/mine --png`;

interface ReportOptions {
  readonly out?: string;
  readonly png: boolean;
}

export function addReport(program: Command, version: string): void {
  program
    .command('report')
    .description('make a page with figures from results')
    .argument('<dir>', "a folder with results.json, or the file itself, of `godwit run`'s --out")
    .option('--out <file>', 'the page (default: DIR/report/index.html)')
    .option('--png', 'write each figure as PNG too', false)
    .addHelpText('after', EXAMPLES)
    .action((path: string, options: ReportOptions) => report(path, options, version));
}

async function report(path: string, { out, png }: ReportOptions, version: string): Promise<void> {
  const opened = openResults(path, version);
  const folder = join(dirname(resultsPath(path)), 'report');
  // Loaded when it is needed: all of Vega would slow down every other command.
  const { writeReport } = await import('../../report/write-report.ts');
  const places = { folder, page: out ?? join(folder, 'index.html') };
  const { page, figureCount, bytes } = await writeReport(opened, { places, png, version });
  console.log(`${page}: ${figureCount} figures, ${bytesText(bytes)}; figures as files: ${folder}`);
}
