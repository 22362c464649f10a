/** A figure with a row for each variant: where its rows stand, and their names at the left. */
import type { Chart } from '../chart.ts';
import { INK } from '../theme.ts';

const LINE_CHARACTERS_MAX = 30;
const LINE_HEIGHT = 13;
const ROW_HEIGHT_MIN = 40;

export interface RowLayout {
  readonly height: number;
  /** The encoding of y: a field `y` that is the row's place from 0, downwards. */
  readonly y: Chart;
  /** The rows' names, left of the panel: a layer of the leftmost one. */
  readonly names: Chart;
}

export function rowLayout(names: readonly string[]): RowLayout {
  const labels = names.map(wrap);
  const lineCount = Math.max(...labels.map(({ length }) => length));
  const rowHeight = Math.max(ROW_HEIGHT_MIN, lineCount * LINE_HEIGHT + 12);
  const scale = { domain: [-0.5, names.length - 0.5], reverse: true, nice: false, zero: false };
  const y = { field: 'y', type: 'quantitative', scale, axis: null };
  // A text begins with its first line: so many rows higher its middle is at the row's.
  const values = labels.map((text, index) => {
    return { text, y: index - ((text.length - 1) * LINE_HEIGHT) / 2 / rowHeight };
  });
  const mark = {
    type: 'text',
    align: 'right',
    baseline: 'middle',
    dx: -8,
    lineHeight: LINE_HEIGHT,
    color: INK,
  };
  const encoding = { x: { value: 0 }, y, text: { field: 'text' }, color: { value: INK } };
  return { height: rowHeight * names.length, y, names: { data: { values }, mark, encoding } };
}

/** A name over several lines, broken between the keys of a variant. */
function wrap(name: string): string[] {
  const [technique = '', ...words] = name.split(' ');
  const lines: string[] = [];
  for (const word of words) {
    const last = lines.at(-1);
    const fits = last !== undefined && last.length + word.length < LINE_CHARACTERS_MAX;
    // The unit of a value stays with it.
    if (last !== undefined && (fits || !word.includes('='))) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return [technique, ...lines];
}

/** "n = 9", or "n = 8 to 9" where they differ. */
export function countsText(counts: readonly number[]): string {
  const least = Math.min(...counts);
  const most = Math.max(...counts);
  return least === most ? `n = ${most}` : `n = ${least} to ${most}`;
}
