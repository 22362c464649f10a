/** The report in words: which trials do not count, and which technique did best by each of the main measures. */
import { medianInterval } from '../statistics/bootstrap.ts';
import { median } from '../statistics/quantiles.ts';
import { type PairedDifference, pairedDifferencesOf, testText } from './differences.ts';
import { type Html, html, NOTHING } from './html.ts';
import { EXCLUDED_ROWS_MAX } from './limits.ts';
import { MAIN_MEASURES, type Measure, valuesOf } from './measures.ts';
import { type Group, type Study, shownGroups } from './study.ts';

/** A figure that keeps its unit on its line. */
function inLine({ text }: Measure, value: number): string {
  return text(value).replaceAll(' ', '\u00a0');
}

/** The first lines: what was left out of every figure, and what is in them without proof. */
export function exclusions({ excluded, groups, record }: Study): Html {
  const count = record.trials.length;
  const unaudited = groups.flatMap(({ trials }) => trials).filter(({ audit }) => audit === null).length;
  const proof =
    unaudited === 0
      ? NOTHING
      : html`<p>${unaudited} of those that count were not audited: nothing is proven about their guests.</p>`;
  if (excluded.length === 0) {
    const all = html`<p>All ${count} trials count: each was completed, and no audit found a fault.</p>`;
    return html`<div class="notice${unaudited === 0 ? ' good' : ''}">${all}${proof}</div>`;
  }
  const items = excluded.slice(0, EXCLUDED_ROWS_MAX).map(({ trial, group, why }) => {
    const guest = trial.guest === null ? '' : `, ${trial.guest}`;
    return html`<li><b>${group}</b>, trial ${trial.trial}${guest}: ${why}</li>`;
  });
  const more = excluded.length - items.length;
  return html`<div class="notice bad"><p><b>${excluded.length} of ${count} trials do not count</b>
    and are in no figure, mean or test below:</p><ul>${items}</ul>
    ${more === 0 ? NOTHING : html`<p>and ${more} more.</p>`}${proof}</div>`;
}

/** A sentence or two for each of the main measures. */
export function summaryWords(study: Study): Html {
  const groups = shownGroups(study);
  if (groups.length === 0) return html`<p>No trial counts, so there is nothing to compare.</p>`;
  const differences = pairedDifferencesOf(study);
  const items = MAIN_MEASURES.map((measure) => words(measure, groups, differences));
  return html`<ul class="summary">${items}</ul>`;
}

interface Ranked {
  readonly group: Group;
  readonly values: readonly number[];
  readonly middle: number;
}

function words(measure: Measure, groups: readonly Group[], differences: readonly PairedDifference[]): Html {
  const ranked = groups
    .flatMap((group): Ranked[] => {
      const values = valuesOf(group.trials, measure);
      const middle = median(values);
      return middle === null ? [] : [{ group, values, middle }];
    })
    .sort((a, b) => a.middle - b.middle);
  const [best, next] = ranked;
  if (best === undefined) return NOTHING;
  if (next === undefined) {
    return html`<li><b>${capital(measure.name)}</b> of ${best.group.name}: ${figures(best, measure)}.</li>`;
  }
  const last = ranked.at(-1)!;
  const most =
    last === next ? '' : ` ${capital(last.group.name)} is last with ${inLine(measure, last.middle)}.`;
  const against = `${share(best, next, measure)}${paired(measure, best, next, differences)}`;
  return html`<li><b>${measure.least} ${measure.name}: ${best.group.name}</b>, ${figures(best, measure)}. Next is
    ${next.group.name} with ${inLine(measure, next.middle)}${against}.${most}</li>`;
}

function figures({ values, middle }: Ranked, measure: Measure): string {
  const interval = medianInterval(values);
  const range =
    interval === null ? '' : `95 % CI ${inLine(measure, interval[0])} to ${inLine(measure, interval[1])}, `;
  return `${inLine(measure, middle)} (median, ${range}n = ${values.length})`;
}

function share(best: Ranked, next: Ranked, { more }: Measure): string {
  if (best.middle <= 0) return '';
  const percent = (next.middle / best.middle - 1) * 100;
  if (percent >= 200) return `, ${(next.middle / best.middle).toFixed(1)} times as much`;
  return `, ${percent.toFixed(percent < 10 ? 1 : 0)} % ${more}`;
}

function paired(
  measure: Measure,
  best: Ranked,
  next: Ranked,
  differences: readonly PairedDifference[],
): string {
  const found = differences.find(
    ({ measure: of, first, second }) =>
      of === measure &&
      ((first === best.group && second === next.group) || (first === next.group && second === best.group)),
  );
  return found === undefined ? '' : `: ${testText(found)}`;
}

function capital(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}
