/** Tables on the terminal, without colours: they are the same when piped. */
import Table from 'cli-table3';

const PIPED = {
  ...{ top: '', 'top-mid': '', 'top-left': '', 'top-right': '' },
  ...{ bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '' },
  ...{ left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ' },
};

/** Aligned columns under their heads; the first column to the left, columns of numbers to the right. */
export function tableText(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
  rightFrom: number = heads.length,
): string {
  const table = new Table({
    head: [...heads],
    chars: PIPED,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: heads.map((_, column) => (column >= rightFrom ? 'right' : 'left')),
  });
  table.push(...rows.map((row) => [...row]));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}
