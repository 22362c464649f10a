/**
 * How figures look: the palette of Okabe and Ito ("Color Universal Design", 2008), which colour-blind readers can
 * tell apart, with a shape and a dash for each colour so that none has to. Figures are drawn for white paper; a
 * style of a few lines in each SVG recolours it on dark screens.
 */

export const INK = '#1f2328';
export const SOFT = '#57606a';
export const GRID = '#d8dee4';
/** Behind figures that are files of their own. */
export const PAPER = '#ffffff';

const BLUE = '#0072B2';
const VERMILLION = '#D55E00';
const GREEN = '#009E73';
const PURPLE = '#CC79A7';
const ORANGE = '#E69F00';
const SKY = '#56B4E9';
const GREY = '#7a7f87';
const OLIVE = '#9a8c00';

export interface Style {
  readonly color: string;
  readonly shape: string;
  readonly dash: readonly number[];
}

/** One for each series of a figure, in this order. */
export const STYLES: readonly Style[] = [
  { color: BLUE, shape: 'circle', dash: [1, 0] },
  { color: VERMILLION, shape: 'square', dash: [7, 3] },
  { color: GREEN, shape: 'triangle-up', dash: [2, 2] },
  { color: PURPLE, shape: 'diamond', dash: [8, 3, 2, 3] },
  { color: ORANGE, shape: 'triangle-down', dash: [12, 3] },
  { color: SKY, shape: 'cross', dash: [4, 2] },
  { color: GREY, shape: 'triangle-right', dash: [1, 3] },
  { color: OLIVE, shape: 'triangle-left', dash: [10, 2, 2, 2, 2, 2] },
];

const TECHNIQUES = ['pre-copy', 'stop-and-copy', 'post-copy', 'hybrid'];

/** A technique looks the same in all reports. */
export function techniqueStyle(technique: string): Style {
  const known = TECHNIQUES.indexOf(technique);
  return STYLES[known === -1 ? TECHNIQUES.length : known]!;
}

/** The styles of series: those of their techniques, unless a technique has several; then by their place. */
export function stylesOf(techniques: readonly string[]): Style[] {
  const areAlone = new Set(techniques).size === techniques.length;
  return techniques.map((technique, index) =>
    areAlone ? techniqueStyle(technique) : STYLES[index % STYLES.length]!,
  );
}

/** The parts of what is stacked, and the pause, wherever they are drawn. */
export const PART_COLORS = {
  finalPages: BLUE,
  deviceState: ORANGE,
  handover: SKY,
  resume: GREEN,
  whileRunning: BLUE,
  inPause: VERMILLION,
  postcopy: GREEN,
  resent: GREY,
  dirtyRate: INK,
  work: PURPLE,
} as const;

/** On dark screens: what each colour of a figure becomes. */
const DARK: Readonly<Record<string, string>> = {
  [PAPER]: '#0f1419',
  [INK]: '#e6edf3',
  [SOFT]: '#a3adb8',
  [GRID]: '#343b44',
  [BLUE]: '#4ba3dd',
  [VERMILLION]: '#f2833f',
  [GREEN]: '#2cc598',
  [PURPLE]: '#dc9cc2',
  [ORANGE]: '#f0b43c',
  [GREY]: '#9da3ab',
  [OLIVE]: '#cfc04a',
};

/** The style that recolours figures; for a page as for a file of its own. */
export function darkFigureStyle(selector: string): string {
  const rules = Object.entries(DARK).flatMap(([light, dark]) => [
    `${selector} [fill="${light}"]{fill:${dark}}`,
    `${selector} [stroke="${light}"]{stroke:${dark}}`,
  ]);
  return `@media screen and (prefers-color-scheme: dark){${rules.join('')}}`;
}

export const FONT = '"Helvetica Neue", Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif';

const axis = {
  labelColor: SOFT,
  labelFontSize: 11,
  labelPadding: 5,
  titleColor: INK,
  titleFontSize: 11,
  titleFontWeight: 'normal',
  titlePadding: 8,
  domainColor: SOFT,
  tickColor: SOFT,
  tickSize: 4,
  gridColor: GRID,
};

/** Vega-Lite's configuration of every figure. */
export const FIGURE_CONFIG = {
  background: null,
  padding: 4,
  font: FONT,
  view: { stroke: null },
  axis,
  axisX: { grid: true, domain: true },
  axisY: { grid: false },
  legend: {
    orient: 'top',
    direction: 'horizontal',
    title: null,
    titleColor: INK,
    titleFontWeight: 'normal',
    labelColor: INK,
    labelFontSize: 11,
    labelLimit: 320,
    symbolStrokeWidth: 2,
    symbolBaseFillColor: INK,
    symbolBaseStrokeColor: INK,
    columnPadding: 16,
    offset: 10,
  },
  header: { labelColor: INK, labelFontSize: 11, title: null },
  title: { color: INK, fontSize: 12, fontWeight: 600, anchor: 'start', offset: 8 },
  text: { color: INK, fontSize: 11 },
  mark: { color: BLUE, aria: false },
};
