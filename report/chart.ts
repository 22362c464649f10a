/**
 * Draws a figure: Vega-Lite's description of it, compiled and rendered to SVG here, so that the page needs no script.
 * The same description gives the same bytes.
 */
import * as vega from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import { escapeHtml } from './html.ts';
import { textWidth } from './text-width.ts';
import { darkFigureStyle, FIGURE_CONFIG, PAPER } from './theme.ts';

/** A part of Vega-Lite's description (https://vega.github.io/vega-lite/docs/spec.html); its schema checks it. */
export type Chart = Readonly<Record<string, unknown>>;

/** A row of the data behind a figure, by column. */
export type Row = Readonly<Record<string, string | number | boolean | null>>;

export interface Figure {
  /** Of its files: letters, digits and hyphens. */
  readonly name: string;
  readonly title: string;
  /** What the marks mean, and how many trials there are. */
  readonly caption: string;
  readonly chart: Chart;
  /** What it shows, for those who draw their own. */
  readonly rows: readonly Row[];
}

export interface DrawnFigure extends Figure {
  readonly svg: string;
}

/** Vega's own measure of texts, which its types leave out. */
const { textMetrics } = vega as unknown as {
  readonly textMetrics: { width: (item: { fontSize?: number }, text: string | null) => number };
};

/**
 * Draws figures in their order. What Vega warns of is an error: a figure that is not what was meant must not be
 * shown.
 */
export async function draw(figures: readonly Figure[]): Promise<DrawnFigure[]> {
  textMetrics.width = ({ fontSize = 11 }, text) => textWidth(`${text ?? ''}`, fontSize);
  vega.resetSVGDefIds();
  const drawn: DrawnFigure[] = [];
  for (const figure of figures) drawn.push({ ...figure, svg: await svgOf(figure) });
  return drawn;
}

async function svgOf({ name, title, chart }: Figure): Promise<string> {
  const refuse = (...what: unknown[]): never => {
    throw new Error(`figure ${name}: ${what.join(' ')}`);
  };
  const quiet = () => logger;
  const logger = { level: quiet, error: refuse, warn: refuse, info: quiet, debug: quiet };
  const spec = { ...chart, config: FIGURE_CONFIG } as unknown as TopLevelSpec;
  const compiled = compile(spec, { logger }).spec;
  const view = new vega.View(vega.parse(compiled), { renderer: 'none', logger });
  try {
    const svg = await view.toSVG();
    // One name for readers who hear it, in place of one for each axis.
    const named = svg.replace(/ (role|aria-label|aria-roledescription)="[^"]*"/g, '');
    return named.replace('<svg ', `<svg role="img" aria-label="${escapeHtml(title)}" `);
  } finally {
    view.finalize();
  }
}

/**
 * A figure as a file of its own, in the colours of the reader's screen; with paper behind it, since nobody knows
 * on what page it will stand.
 */
export function svgFile({ svg }: DrawnFigure): string {
  const paper = `<rect width="100%" height="100%" fill="${PAPER}"/>`;
  return svg.replace(/^<svg [^>]*>/, (start) => `${start}<style>${darkFigureStyle('svg')}</style>${paper}`);
}
