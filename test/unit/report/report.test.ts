/** What a report says and leaves out; how it looks is proven in a browser. */
import { describe, expect, test } from 'vitest';
import type { ResultRecord, TrialRecord } from '../../../records/result-record.ts';
import { svgFile } from '../../../report/chart.ts';
import { csvText } from '../../../report/csv.ts';
import { makeReport, type Report } from '../../../report/make-report.ts';
import { studyOf } from '../../../report/study.ts';
import { numberOf, settingsOf, sweptKeys } from '../../../report/sweep.ts';
import { madeResults, madeTrial, sweptResults } from '../../support/study-results.ts';

const about = { command: 'godwit run spec.yaml', version: '0.1.0' };

function reportOf(record: ResultRecord): Promise<Report> {
  return makeReport({ record, unknown: [], missing: [] }, about);
}

/** What people read: without tags, each run of white space one space. */
function textOf(page: string): string {
  return page
    .replace(/<(style|svg)[\s\S]*?<\/\1>/g, ' ')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ');
}

/** The results with one trial in addition. */
function having(trial: TrialRecord): ResultRecord {
  const results = madeResults();
  return { ...results, trials: [...results.trials, trial] };
}

describe('a report', () => {
  test('has each kind of figure, with its data, and the same bytes each time', async () => {
    const [first, second] = [await reportOf(madeResults()), await reportOf(madeResults())];
    expect(first.figures.map(({ name }) => name)).toEqual([
      'distribution-downtime',
      'distribution-total',
      'distribution-transferred',
      'downtime-parts',
      'bytes',
      'fault-latency',
      'client-latency',
      'transforms',
      ...['timeline-1', 'timeline-2', 'timeline-3', 'timeline-4'],
    ]);
    for (const { rows, svg } of first.figures) {
      expect(rows.length).toBeGreaterThan(1);
      expect(svg).toMatch(/^<svg role="img" aria-label="[^"]+/);
    }
    expect(second.page).toBe(first.page);
  });

  test('says which technique was best, by how much, of how many, and what the test finds', async () => {
    const text = textOf((await reportOf(madeResults())).page);
    expect(text).toMatch(
      /Shortest downtime: (pre-copy|post-copy|hybrid) , 1\d\.\d.ms \(median, 95 % CI .* n = 9\)/,
    );
    expect(text).toContain('Stop-and-copy is last');
    expect(text).toMatch(/effect \(Cliff&#39;s δ = [-\d.]+\)/);
  });

  test('of too few trials says that no test can be made', async () => {
    expect(textOf((await reportOf(madeResults(3))).page)).toContain('3 pairs are too few for a test');
  });

  test.each([
    {
      what: 'failed',
      trial: { status: 'failed', reason: 'host-2 died' } as const,
      says: 'failed: host-2 died',
    },
    { what: 'was lost', trial: { status: 'lost' } as const, says: 'the guest was lost' },
    {
      what: 'was proven wrong',
      trial: { audit: { pages_checked: 9, faults: [], fault_count: 1, evidence: 'ledger' } },
      says: 'the audit found a fault',
    },
  ])('tells first of a trial that $what, and shows its figures nowhere', async ({ trial, says }) => {
    const odd: TrialRecord = { ...madeTrial('pre-copy', 10), ...trial };
    const [small, huge] = [
      having(odd),
      having({ ...odd, downtime_ms: 1e7, total_time_ms: 2e7, transferred_bytes: 1e12 }),
    ];
    const [withSmall, withHuge] = [await reportOf(small), await reportOf(huge)];
    const text = textOf(withSmall.page);
    expect(text).toContain('1 of 37 trials do not count');
    expect(text.indexOf(says)).toBeGreaterThan(0);
    expect(text.indexOf(says)).toBeLessThan(text.indexOf('In words'));
    const shown = ({ figures }: Report): unknown =>
      figures.map(({ svg, caption, rows }) => [svg, caption, csvText(rows)]);
    expect(shown(withHuge)).toEqual(shown(withSmall));
    const upToTrials = (page: string): string => page.slice(0, page.indexOf('trials</summary>'));
    expect(upToTrials(withHuge.page)).toBe(upToTrials(withSmall.page));
  });

  test('says of how many guests nothing was proven, though their trials count', async () => {
    const text = textOf((await reportOf(having({ ...madeTrial('pre-copy', 10), audit: null }))).page);
    expect(text).toContain('All 37 trials count');
    expect(text).toContain('1 of those that count were not audited');
  });

  test('of results in which nothing counts still opens, and says so', async () => {
    const results = madeResults(1);
    const failed = results.trials.map((trial): TrialRecord => ({ ...trial, status: 'failed' }));
    const { page, figures } = await reportOf({ ...results, trials: failed });
    expect(figures).toEqual([]);
    expect(textOf(page)).toContain('4 of 4 trials do not count');
    expect(textOf(page)).toContain('No trial counts');
  });

  test('escapes every name that comes from a spec or a record, and loads nothing', async () => {
    const evil = `<script>alert(1)</script>"'><img src="https://example.org/x" onerror=alert(1)>]]>&`;
    const results = madeResults(2);
    const bad: TrialRecord = { ...madeTrial('pre-copy', 3), status: 'failed', reason: evil };
    const trials = [...results.trials, bad].map((trial): TrialRecord => {
      const clients = (trial.clients ?? []).map((client) => ({ ...client, protocol: evil }));
      const transforms = (trial.transforms ?? []).map((transform) => ({ ...transform, variant: evil }));
      const names = {
        technique: `${trial.technique}${evil}`,
        variant: `push=${evil} ${evil}=1`,
        guest: evil,
      };
      return { ...trial, ...names, convergence: evil, clients, transforms };
    });
    const { page, figures } = await reportOf({
      ...results,
      godwit_version: evil,
      machine: { ...results.machine, cpu_model: evil, kernel: evil, node: evil },
      spec: { ...results.spec, name: evil, link: { rate: evil } },
      trials,
    });
    for (const text of [page, ...figures.map(svgFile)]) {
      expect(text).not.toMatch(/<script|<img|<iframe|<object/i);
      const tags = text.match(/<[a-z](?:[^>"']|"[^"]*"|'[^']*')*>/gi) ?? [];
      expect(tags.filter((tag) => /\son\w+=/i.test(tag.replace(/"[^"]*"/g, '""')))).toEqual([]);
      const links = tags.flatMap((tag) => [...tag.matchAll(/\s(?:src|href|xlink:href|action)="([^"]*)"/g)]);
      expect(links.map(([, to]) => to).filter((to) => !to?.startsWith('data:'))).toEqual([]);
      expect(text).not.toMatch(/url\((?!#)|@import/);
    }
    expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
    expect(page).toContain(`content="default-src &#39;none&#39;`);
  });
});

describe('swept keys', () => {
  test('are read from the names of variants, units and spaces too', () => {
    expect([...settingsOf('push=bubbling pivots=7 rate=1000 pages/s')]).toEqual([
      ['push', 'bubbling'],
      ['pivots', '7'],
      ['rate', '1000 pages/s'],
    ]);
    expect(numberOf('1gbit')).toEqual({ value: 125e6, unit: 'bytes/s' });
    expect([numberOf('unlimited'), numberOf('bubbling'), numberOf('')]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  test('are in the order of their values, and words are none', () => {
    const { groups } = studyOf(sweptResults());
    expect(sweptKeys(groups).map(({ key, values }) => [key, values.map(({ text }) => text)])).toEqual([
      ['max-bandwidth', ['100mbit', '200mbit', '400mbit']],
      ['rate', ['1000 pages/s', '4000 pages/s', '16000 pages/s']],
    ]);
    const words = groups.map((group) => ({ ...group, variant: `push=${group.index % 2 ? 'none' : '7'}` }));
    expect(sweptKeys(words)).toEqual([]);
  });

  test('of bandwidth and dirty rate make the frontier, which names what did not converge', async () => {
    const { figures } = await reportOf(sweptResults());
    expect(figures.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['sweep-max-bandwidth', 'sweep-rate', 'frontier-pre-copy', 'frontier-hybrid']),
    );
    const { title, rows } = figures.find(({ name }) => name === 'frontier-pre-copy')!;
    expect(title).toBe('Where pre-copy converges');
    const cut = rows.filter(({ share_converged }) => share_converged === 0);
    expect(cut.map((row) => `${row['max-bandwidth']} ${row.rate}`)).toEqual([
      '100mbit 4000 pages/s',
      '100mbit 16000 pages/s',
      '200mbit 16000 pages/s',
      '400mbit 16000 pages/s',
    ]);
  });
});

test('data to be downloaded is quoted as RFC 4180 has it', () => {
  const rows = [
    { a: 'x, "y"\nz', b: null },
    { a: 1.5, c: true },
  ];
  expect(csvText(rows)).toBe('a,b,c\r\n"x, ""y""\nz",,\r\n1.5,,true\r\n');
});
