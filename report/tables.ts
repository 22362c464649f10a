/** The tables of a report. Figures stand right-aligned, with what belongs to them below in smaller print. */
import { bitsText, countText, durationText, orUnknown, UNKNOWN } from '../cli/render/measures.ts';
import { whyNotCounted } from '../records/counted-trials.ts';
import type { TrialRecord } from '../records/result-record.ts';
import { medianInterval } from '../statistics/bootstrap.ts';
import { median, spreadOf } from '../statistics/quantiles.ts';
import { type PairedDifference, pText } from './differences.ts';
import { type Html, html, NOTHING } from './html.ts';
import { TRIAL_ROWS_MAX } from './limits.ts';
import { MEASURES, type Measure, valuesOf } from './measures.ts';
import { type Group, type Study, shownGroups } from './study.ts';
import { settingsOf } from './sweep.ts';

/** A table that scrolls by itself where the screen is narrow. */
function scrolling(label: string, head: readonly string[], rows: readonly Html[]): Html {
  const heads = head.map(
    (name, index) => html`<th scope="col"${index === 0 ? html` class="name"` : NOTHING}>${name}</th>`,
  );
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${label}"><table>
    <thead><tr>${heads}</tr></thead>
    <tbody>${rows}</tbody></table></div>`;
}

/** A variant's technique, and each of its settings in a line of its own. */
function nameCell({ technique, variant }: Pick<Group, 'technique' | 'variant'>): Html {
  const settings = [...settingsOf(variant)].map(([key, value]) => html`<small>${key}=${value}</small>`);
  return html`<th scope="row">${technique}${settings}</th>`;
}

/** Median, interval, quartiles and n of each measure that any trial has. */
export function comparisonTable(study: Study): Html {
  const groups = shownGroups(study);
  const measures = MEASURES.filter((measure) =>
    groups.some(({ trials }) => valuesOf(trials, measure).some((value) => value !== 0)),
  );
  const rows = groups.map((group) => {
    const counted = group.trials.length;
    const n = counted === group.trialCount ? `${counted}` : `${counted} of ${group.trialCount}`;
    const cells = measures.map((measure) => measureCell(group, measure));
    return html`<tr>${nameCell(group)}<td>${n}</td>${cells}</tr>`;
  });
  return scrolling('Comparison', ['', 'n', ...measures.map(({ name }) => name)], rows);
}

function measureCell({ trials }: Group, measure: Measure): Html {
  const values = valuesOf(trials, measure);
  const spread = spreadOf(values);
  if (spread === null) return html`<td>${UNKNOWN}</td>`;
  const interval = medianInterval(values);
  const { text } = measure;
  if (spread.min === spread.max) return html`<td><b>${text(spread.median)}</b><small>in all</small></td>`;
  const range = interval === null ? `CI ${UNKNOWN}` : `CI ${rangeText(text(interval[0]), text(interval[1]))}`;
  const quartiles = `Q ${rangeText(text(spread.q1), text(spread.q3))}`;
  const n = values.length === trials.length ? NOTHING : html`<small>n = ${values.length}</small>`;
  return html`<td><b>${text(spread.median)}</b><small>${range}</small><small>${quartiles}</small>${n}</td>`;
}

/** "9.2 to 10.1 ms" rather than the unit twice. */
function rangeText(from: string, to: string): string {
  const unit = to.slice(to.lastIndexOf(' '));
  return from.endsWith(unit) ? `${from.slice(0, -unit.length)} to ${to}` : `${from} to ${to}`;
}

export function differencesTable(differences: readonly PairedDifference[]): Html {
  const rows = differences.map(({ measure, first, second, pairs, shift, interval, delta, p }) => {
    const range =
      interval === null ? UNKNOWN : rangeText(signed(interval[0], measure), signed(interval[1], measure));
    return html`<tr><th scope="row">${second.name} against ${first.name}</th><td>${measure.name}</td><td>${pairs}</td>
      <td><b>${signed(shift, measure)}</b></td><td>${range}</td><td>${delta.toFixed(2)}</td>
      <td>${p === null ? UNKNOWN : pText(p)}</td></tr>`;
  });
  return scrolling(
    'Paired differences',
    ['', 'measure', 'pairs', 'difference', '95 % CI', "Cliff's δ", 'Wilcoxon, Holm'],
    rows,
  );
}

function signed(value: number, { text }: Measure): string {
  return `${value < 0 ? '−' : '+'}${text(Math.abs(value))}`;
}

/** What may spoil a trial, as far as the record knows: what was asked and what there was. */
export function validityTable(study: Study): Html {
  const rows = shownGroups(study).map((group) => {
    const { trials } = group;
    const of = (pick: (trial: TrialRecord) => number | null): number | null =>
      median(trials.map(pick).filter((value) => value !== null));
    const achieved = of(({ dirty_rate_pps_achieved: got, dirty_rate_pps_requested: asked }) =>
      got === null || asked === null || asked === 0 ? null : got / asked,
    );
    const links = trials.flatMap(({ network }) => network?.links ?? []);
    const off = links.filter(({ differences }) => differences.length > 0);
    const rate = median(links.map(({ measured_rate_bytes_per_s }) => measured_rate_bytes_per_s));
    const asked = links[0]?.asked_rate_bytes_per_s ?? null;
    const unaudited = trials.filter(({ audit }) => audit === null).length;
    const clock = trials.map(({ clock_error_ms }) => clock_error_ms).filter((error) => error !== null);
    return html`<tr>${nameCell(group)}
      <td>${orUnknown(
        of((trial) => trial.dirty_rate_pps_requested),
        countText,
      )}</td>
      ${flagged(achieved !== null && Math.abs(achieved - 1) > OFF_SHARE, orUnknown(achieved, percentOf))}
      <td>${links.length === 0 ? UNKNOWN : orUnknown(asked, bitsText)}</td><td>${orUnknown(rate, bitsText)}</td>
      ${flagged(off.length > 0, links.length === 0 ? UNKNOWN : `${off.length} of ${links.length}`)}
      <td>${clock.length === 0 ? UNKNOWN : durationText(Math.max(...clock))}</td>
      ${flagged(unaudited > 0, `${trials.length - unaudited} of ${trials.length}`)}</tr>`;
  });
  const heads = ['dirty rate asked (pages/s)', 'achieved', 'link asked', 'measured', 'links off by > 3 %'];
  return scrolling('Validity', ['', ...heads, 'clock error, most', 'audited'], rows);
}

/** As the links' own differences: further off than this is worth a word. */
const OFF_SHARE = 0.03;

function flagged(isBad: boolean, text: string): Html {
  return isBad ? html`<td class="flag">⚠ ${text}</td>` : html`<td>${text}</td>`;
}

function percentOf(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** Every trial, those that do not count too. */
export function trialsTable({ record }: Study): Html {
  const shown = record.trials.slice(0, TRIAL_ROWS_MAX);
  const rows = shown.map((trial) => {
    const cells = MEASURES.slice(0, 4).map(
      ({ pick, text }) => html`<td>${orUnknown(pick(trial), text)}</td>`,
    );
    const why = whyNotCounted(trial);
    const name = trial.variant === null ? trial.technique : `${trial.technique} ${trial.variant}`;
    const note = why ?? trial.reason ?? '';
    return html`<tr><th scope="row">${name}</th><td>${trial.trial}</td><td>${trial.guest ?? UNKNOWN}</td>${cells}
      ${flagged(why !== undefined, trial.status)}<td class="text">${note}</td></tr>`;
  });
  const left = record.trials.length - shown.length;
  const heads = ['trial', 'guest', ...MEASURES.slice(0, 4).map(({ name }) => name), 'status', 'remark'];
  const more = left === 0 ? NOTHING : html`<p>${left} more are in results.json.</p>`;
  return html`${scrolling('All trials', ['', ...heads], rows)}${more}`;
}
