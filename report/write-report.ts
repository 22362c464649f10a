/** Puts a report where it can be found: the page, and each figure as SVG, and as PNG where that is wanted. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Resvg } from '@resvg/resvg-js';
import { stringify } from 'yaml';
import type { OpenedResults } from '../records/read-results.ts';
import { svgFile } from './chart.ts';
import { makeReport } from './make-report.ts';

/** Pixels of a PNG for one of the figure: enough for slides and print. */
const PNG_SCALE = 3;

export interface ReportPlaces {
  /** The page. */
  readonly page: string;
  /** The folder of the figures and of the spec. */
  readonly folder: string;
}

export interface ReportSettings {
  readonly places: ReportPlaces;
  readonly png: boolean;
  readonly version: string;
}

export interface WrittenReport {
  readonly page: string;
  readonly figureCount: number;
  readonly bytes: number;
}

export async function writeReport(
  opened: OpenedResults,
  { places, png, version }: ReportSettings,
): Promise<WrittenReport> {
  const specFile = join(places.folder, 'spec.yaml');
  const { page, figures } = await makeReport(opened, { command: `godwit run ${specFile}`, version });
  mkdirSync(places.folder, { recursive: true });
  mkdirSync(dirname(places.page), { recursive: true });
  for (const figure of figures) {
    const svg = svgFile(figure);
    writeFileSync(join(places.folder, `${figure.name}.svg`), svg);
    if (png) writeFileSync(join(places.folder, `${figure.name}.png`), pngOf(svg));
  }
  writeFileSync(specFile, stringify(opened.record.spec));
  // Whoever has the old page open sees either that or the new one.
  const draft = `${places.page}.${process.pid}`;
  writeFileSync(draft, page);
  renameSync(draft, places.page);
  return { page: places.page, figureCount: figures.length, bytes: Buffer.byteLength(page) };
}

/** @throws Error when there is no font: then the letters would be missing without a word. */
function pngOf(svg: string): Uint8Array {
  const letters = '<text x="2" y="15">mm</text>';
  const lettersOnly = `<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20">${letters}</svg>`;
  if (new Resvg(lettersOnly).getBBox() === undefined) {
    throw new Error(
      'cannot draw PNG: this machine has no font; install one (apt-get install fonts-dejavu-core), or take the SVG',
    );
  }
  return new Resvg(svg, { fitTo: { mode: 'zoom', value: PNG_SCALE } }).render().asPng();
}
