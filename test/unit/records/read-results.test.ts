/** Results of other versions open or say what they need, and which trials count is decided in one place. */
import { expect, test } from 'vitest';
import { countedTrials, whyNotCounted } from '../../../records/counted-trials.ts';
import { ResultsError, readResults } from '../../../records/read-results.ts';
import type { ResultRecord, TrialRecord } from '../../../records/result-record.ts';
import { emptyTrial } from '../../../records/trial-record.ts';

const trial: TrialRecord = { ...emptyTrial('pre-copy', 1, 'completed', null), downtime_ms: 5 };
const results: ResultRecord = {
  godwit_version: '0.1.0',
  recorded_at: '2026-11-22T12:00:00.000Z',
  machine: { cpus: 2, cpu_model: 'x', memory_bytes: 1e9, kernel: '6', node: 'v24' },
  spec: { name: 'small' },
  trials: [trial],
};

/** The results as text, after something was changed in them. */
function changed(change: (plain: ResultRecord & Record<string, unknown>) => void): string {
  const plain = structuredClone(results) as ResultRecord & Record<string, unknown>;
  change(plain);
  return JSON.stringify(plain);
}

test('results of this version open as they are', () => {
  const opened = readResults(JSON.stringify(results), 'r.json', '0.1.0');
  expect(opened).toEqual({ record: results, unknown: [], missing: [] });
});

test('what an older version did not measure is null, and named', () => {
  const text = changed(({ trials }) => {
    const [first] = trials as Partial<TrialRecord>[];
    delete first!.clients;
    delete (first!.downtime_parts as Partial<TrialRecord['downtime_parts']>).resume_ms;
  });
  const opened = readResults(text, 'r.json', '0.2.0');
  expect(opened.record.trials).toEqual([trial]);
  expect(opened.missing).toEqual(['trials.downtime_parts.resume_ms', 'trials.clients']);
});

test('what a newer version measures in addition is left aside, and named', () => {
  const text = changed((plain) => {
    plain.weather = 'fine';
    Object.assign(plain.trials[0]!, { vcpu_steal_ms: 3 });
  });
  const opened = readResults(text, 'r.json', '0.1.0');
  expect(opened.record).toEqual(results);
  expect(opened.unknown.toSorted()).toEqual(['trials.vcpu_steal_ms', 'weather']);
});

test('a form that cannot be understood names the version that can', () => {
  const text = changed((plain) => {
    plain.godwit_version = '9.1.0';
    Object.assign(plain.trials[0]!, { status: 'teleported' });
  });
  expect(() => readResults(text, 'r.json', '0.1.0')).toThrow(ResultsError);
  expect(() => readResults(text, 'r.json', '0.1.0')).toThrow(
    /trials\.0\.status.*needs godwit 9\.1\.0.*this is 0\.1\.0/,
  );
});

test.each(['', '{', '[]', 'null', '{"trials": []}', '"x"'])('%j is no file of results', (text) => {
  expect(() => readResults(text, 'r.json', '0.1.0')).toThrow(/r\.json .*godwit run/);
});

test('a trial that failed, was lost or cancelled, or was proven wrong does not count, and says why', () => {
  const audit = { pages_checked: 4, faults: [], fault_count: 0, evidence: 'ledger' };
  const fault = { page: 3, kind: 'torn', detail: 'two versions' };
  const trials: TrialRecord[] = [
    trial,
    { ...trial, audit },
    { ...trial, status: 'failed', reason: 'host-2 died' },
    { ...trial, status: 'lost' },
    { ...trial, status: 'cancelled', reason: 'by hand' },
    { ...trial, audit: { ...audit, fault_count: 2, faults: [fault] } },
  ];
  expect(trials.map(whyNotCounted)).toEqual([
    undefined,
    undefined,
    'failed: host-2 died',
    'the guest was lost',
    'cancelled: by hand',
    'the audit found 2 faults, such as page 3: torn: two versions',
  ]);
  expect(countedTrials(trials)).toEqual(trials.slice(0, 2));
});
