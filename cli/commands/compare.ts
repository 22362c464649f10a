/** `godwit compare`: what became of each measure between two runs. */
import type { Command } from 'commander';
import { type Change, changesBetween, verdictText } from '../../report/differences.ts';
import { type Study, studyOf } from '../../report/study.ts';
import { magnitudeOf } from '../../statistics/effect-size.ts';
import { UNKNOWN } from '../render/measures.ts';
import { tableText } from '../render/table.ts';
import { openResults } from '../results-file.ts';

const EXAMPLES = `
Compares the variants that both have, over the trials that count. CI is the 95 % bootstrap interval of the change of the
median; a difference is said to be one when it leaves out 0. Exit code 0 whatever the difference is.

Examples:
  godwit compare results/before results/after
  godwit compare results/before results/after --json | jq '.changes[] | select(.verdict == "more")'`;

export function addCompare(program: Command, version: string): void {
  program
    .command('compare')
    .description('say what differs between two results')
    .argument('<before>', 'a folder with results.json, or the file itself')
    .argument('<after>', 'another')
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action((before: string, after: string, { json }: { readonly json: boolean }) => {
      const studies = [before, after].map((path) => studyOf(openResults(path, version).record)) as [
        Study,
        Study,
      ];
      const changes = changesBetween(...studies);
      console.log(
        json ? JSON.stringify(plain(changes, studies), undefined, 2) : compareText(changes, studies),
      );
    });
}

const HEADS = ['TECHNIQUE', 'MEASURE', 'BEFORE', 'AFTER', 'EFFECT', 'VERDICT'];

function compareText(changes: readonly Change[], studies: readonly [Study, Study]): string {
  const rows = changes.map((change) => {
    const { variant, measure, medians, delta } = change;
    const [before, after] = medians.map(measure.text);
    return [
      variant,
      measure.name,
      before ?? UNKNOWN,
      after ?? UNKNOWN,
      magnitudeOf(delta),
      verdictText(change),
    ];
  });
  const table =
    rows.length === 0 ? 'The two have no variant in common of which trials count.' : tableText(HEADS, rows);
  return [table, ...remarks(studies)].join('\n');
}

/** What the table does not show: trials that do not count, and variants that only one has. */
function remarks([before, after]: readonly [Study, Study]): string[] {
  const excluded = [before, after].flatMap(({ excluded: trials }, index) => {
    const which = index === 0 ? 'before' : 'after';
    return trials.length === 0
      ? []
      : [`${which}: ${trials.length} trials do not count (${trials[0]?.why}, ...)`];
  });
  const only = [
    ...without(before, after).map((name) => `only before: ${name}`),
    ...without(after, before).map((name) => `only after: ${name}`),
  ];
  const lines = [...excluded, ...only];
  return lines.length === 0 ? [] : ['', ...lines];
}

function without({ groups }: Study, other: Study): string[] {
  return groups.map(({ name }) => name).filter((name) => !other.groups.some((group) => group.name === name));
}

/** For programs: everything, in the record's units. */
function plain(changes: readonly Change[], [before, after]: readonly [Study, Study]): unknown {
  return {
    changes: changes.map((change) => ({
      variant: change.variant,
      measure: change.measure.key,
      n: change.counts,
      median: change.medians,
      median_interval: change.intervals,
      difference: change.difference,
      difference_interval: change.differenceInterval,
      change: change.change,
      change_interval: change.changeInterval,
      cliffs_delta: change.delta,
      verdict: change.verdict,
      text: verdictText(change),
    })),
    not_counted: [before.excluded.length, after.excluded.length],
    only_before: without(before, after),
    only_after: without(after, before),
  };
}
