/**
 * The page: one file that needs nothing else. It has no script, and a policy that would stop one; data to be
 * downloaded is in its links. Every name from a spec is escaped.
 */
import { stringify } from 'yaml';
import { bytesText } from '../cli/render/measures.ts';
import type { OpenedResults } from '../records/read-results.ts';
import type { DrawnFigure, Row } from './chart.ts';
import { csvText } from './csv.ts';
import { pairedDifferencesOf } from './differences.ts';
import { Html, html, NOTHING } from './html.ts';
import { PAIRED_MAX } from './limits.ts';
import { MAIN_MEASURES } from './measures.ts';
import { PAGE_STYLE } from './page-style.ts';
import type { Study } from './study.ts';
import { exclusions, summaryWords } from './summary.ts';
import { comparisonTable, differencesTable, trialsTable, validityTable } from './tables.ts';

/** Nothing from elsewhere, no script, whatever a name tries. */
const POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

export interface PageFacts {
  readonly study: Study;
  readonly figures: readonly DrawnFigure[];
  readonly opened: OpenedResults;
  /** The spec as a file, and the command that runs it. */
  readonly command: string;
  /** The version that makes the report. */
  readonly version: string;
}

export function pageText(facts: PageFacts): string {
  const { study, figures } = facts;
  const isTimeline = ({ name }: DrawnFigure): boolean => name.startsWith('timeline-');
  const isSweep = ({ name }: DrawnFigure): boolean => /^(sweep|frontier)-/.test(name);
  const rest = figures.filter((figure) => !isTimeline(figure) && !isSweep(figure));
  const body = [
    heading(facts),
    exclusions(study),
    html`<h2 id="summary">In words</h2>${summaryWords(study)}`,
    html`<h2 id="comparison">Comparison</h2>${comparisonTable(study)}
      <p class="hint">Median; CI: 95 % bootstrap interval of the median; Q: quartiles. What each measure
      means is in godwit's docs/metrics.md.</p>${differencesSection(study)}`,
    section('sweeps', 'Over the varied keys', figures.filter(isSweep)),
    section('figures', 'Figures', rest),
    section('timelines', 'One trial of each over time', figures.filter(isTimeline), 'sheets'),
    html`<h2 id="validity">Validity</h2><p>What was asked for beside what there was.
      ⚠ marks what is off by more than 3 %, and what was not proven.</p>${validityTable(study)}`,
    provenance(facts),
  ];
  const page = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${POLICY}"><meta name="color-scheme" content="light dark">
<title>${study.name} – godwit</title><link rel="icon" href="data:,"><style>${new Html(PAGE_STYLE)}</style></head>
<body><main>${body}</main></body></html>
`;
  return page.text;
}

function heading({ study }: PageFacts): Html {
  const { record, groups } = study;
  const { godwit_version, recorded_at, machine, trials } = record;
  const date = recorded_at.slice(0, 16).replace('T', ' ');
  const variants = groups.length === 1 ? 'one variant' : `${groups.length} variants`;
  return html`<h1>${study.name}</h1><p class="meta">${trials.length} trials of ${variants}, measured by godwit
    ${godwit_version} on ${date} UTC, ${machine.cpus} CPUs (${machine.cpu_model}).${subject(record.spec)}</p>`;
}

/** What was moved over what, as far as the spec says it in a word. */
function subject(spec: Readonly<Record<string, unknown>>): string {
  const at = (...path: readonly string[]): string | undefined => {
    let value: unknown = spec;
    for (const key of path)
      value = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
    if (Array.isArray(value)) return value.join(', ');
    return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
  };
  const words = (...texts: readonly (string | undefined)[]): string => texts.filter(Boolean).join(' ');
  const guest = words(
    at('guest', 'memory'),
    at('guest', 'workload', 'kind'),
    at('guest', 'workload', 'rate'),
  );
  const link = words(at('link', 'rate'), at('link', 'delay'));
  return `${guest === '' ? '' : ` Guest: ${guest}.`}${link === '' ? '' : ` Link: ${link}.`}`;
}

function differencesSection(study: Study): Html {
  const differences = pairedDifferencesOf(study);
  if (differences.length === 0) return NOTHING;
  const table = differencesTable(differences);
  const against =
    study.groups.length > PAIRED_MAX ? ' Of so many variants each is held against the first.' : '';
  const about = html`<p class="hint">Trials are paired by their number and guest. Difference: Hodges and Lehmann's
    estimate; its interval belongs to the test and needs 6 pairs. p: Wilcoxon's signed-rank test, two-sided,
    corrected by Holm over the pairs of each measure.${against}</p>`;
  const isShort = differences.length <= 3 * MAIN_MEASURES.length;
  if (isShort) return html`<h3>Differences</h3>${table}${about}`;
  return html`<details><summary>Differences between variants (${differences.length})</summary>
    ${table}${about}</details>`;
}

function section(id: string, title: string, figures: readonly DrawnFigure[], layout = ''): Html {
  if (figures.length === 0) return NOTHING;
  return html`<h2 id="${id}">${title}</h2><div class="${layout}">${figures.map(figureHtml)}</div>`;
}

function figureHtml({ name, title, caption, svg, rows }: DrawnFigure): Html {
  const isWide = /width="(\d+)/.exec(svg)?.[1] ?? '0';
  const kind = Number(isWide) > 420 ? 'chart scroll wide' : 'chart scroll';
  return html`<figure id="${name}"><h3>${title}</h3>
    <div class="${kind}" tabindex="0" role="region" aria-label="${title}">${new Html(svg)}</div>
    <figcaption>${caption} <span class="download">${dataLinks(name, rows)}</span></figcaption></figure>`;
}

function dataLinks(name: string, rows: readonly Row[]): Html {
  const csv = link(`${name}.csv`, 'text/csv', csvText(rows), 'CSV');
  const json = link(`${name}.json`, 'application/json', JSON.stringify(rows), 'JSON');
  return html`Data: ${csv}, ${json}`;
}

/** A link that holds what it leads to. */
function link(file: string, type: string, text: string, label: string): Html {
  const data = Buffer.from(text).toString('base64');
  return html`<a download="${file}" href="data:${type};base64,${data}">${label}</a>`;
}

function provenance({ study, opened, command, version }: PageFacts): Html {
  const { record } = study;
  const { machine } = record;
  const spec = stringify(record.spec);
  return html`<h2 id="again">To run it again</h2>
<p>Save ${link('spec.yaml', 'application/yaml', spec, 'the spec')}, with every default filled in, and run it:</p>
<pre><code>${command}</code></pre>
<dl><dt>measured by</dt><dd>godwit ${record.godwit_version}, Node ${machine.node}, ${machine.kernel}</dd>
<dt>on</dt><dd>${machine.cpus} CPUs (${machine.cpu_model}), ${bytesText(machine.memory_bytes)} of memory</dd>
<dt>ended</dt><dd>${record.recorded_at}</dd><dt>report by</dt><dd>godwit ${version}</dd>${otherVersion(opened)}</dl>
<details><summary>The spec</summary><pre><code>${spec}</code></pre></details>
<details><summary>All ${record.trials.length} trials</summary>${trialsTable(study)}</details>`;
}

/** What another version's results had more or less. */
function otherVersion({ unknown, missing }: OpenedResults): Html {
  return html`${unknown.length === 0 ? NOTHING : html`<dt>not understood</dt><dd>${unknown.join(', ')}</dd>`}
${missing.length === 0 ? NOTHING : html`<dt>not measured yet</dt><dd>${missing.join(', ')}</dd>`}`;
}
