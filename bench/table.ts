/** A benchmark's rows as people read them. */

import Table from 'cli-table3';
import type { Row, Spread, Target } from './row.ts';

const HEAD = ['work', 'measure', 'median', 'min to max', 'n', 'against', 'ratio', 'target', 'met'];
/** Of the columns that hold sentences; the others are as wide as what they hold. */
const WIDTHS = [40, 20, null, null, null, 32];
const PLAIN = { head: [], border: [], compact: true };

export function tableText(rows: readonly Row[]): string {
  const table = new Table({ head: HEAD, colWidths: WIDTHS, wordWrap: true, style: PLAIN });
  for (const row of rows) {
    const { work, measure, unit } = row;
    if ('not_measured' in row) {
      const content = `${row.failed ? 'FAILED' : 'not measured'}: ${row.not_measured}`;
      table.push([work, measure, { colSpan: 5, content }, targetText(row.target), row.failed ? 'NO' : '']);
      continue;
    }
    const { godwit, peer, peer_value, ratio, met } = row;
    table.push([
      ...[work, measure, `${numberText(godwit.median)} ${unit}`, spreadText(godwit), godwit.n],
      ...[peer_value === null ? '' : `${peer}: ${numberText(peer_value.median)} (${spreadText(peer_value)})`],
      ...[ratio === null ? '' : ratio.toFixed(2), targetText(row.target)],
      ...[met === null ? '' : met ? 'yes' : 'NO'],
    ]);
  }
  return table.toString();
}

function targetText(target: Target | null): string {
  if (target === null) return '';
  return 'at_most' in target ? `<= ${target.at_most}` : `>= ${target.at_least}`;
}

function spreadText({ min, max }: Spread): string {
  return `${numberText(min)} to ${numberText(max)}`;
}

function numberText(value: number): string {
  return value.toFixed(Math.abs(value) < 10 ? 2 : Math.abs(value) < 1000 ? 1 : 0);
}
