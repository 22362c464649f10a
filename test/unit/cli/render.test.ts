/** What the command prints: measures, progress, the summary's table, and JSON. */
import { PassThrough } from 'node:stream';
import type { WriteStream } from 'node:tty';
import { describe, expect, test } from 'vitest';
import { plainMessage } from '../../../cli/render/json.ts';
import { bytesText, countText, durationText } from '../../../cli/render/measures.ts';
import { ProgressDisplay } from '../../../cli/render/progress-display.ts';
import { progressText } from '../../../cli/render/progress-line.ts';
import { succeeded, summaryText } from '../../../cli/render/summary.ts';
import { GuestState } from '../../../proto/generated/godwit/v1/guest.ts';
import { MigrationPhase, type MigrationProgress } from '../../../proto/generated/godwit/v1/migration.ts';
import type { TrialRecord } from '../../../records/result-record.ts';
import { emptyTrial } from '../../../records/trial-record.ts';

function progress(changes: Partial<MigrationProgress> = {}): MigrationProgress {
  return {
    migration: 'm-1',
    phase: MigrationPhase.MIGRATION_PHASE_ACTIVE,
    round: 2,
    elapsedMs: 100,
    transferredBytes: 3n * 1024n * 1024n,
    roundPages: 256n,
    roundPagesSent: 64n,
    dirtyRatePagesPerS: 5000,
    bandwidthBytesPerS: 1.5 * 1024 ** 3,
    expectedDowntimeMs: 12,
    remainingMs: 2500,
    note: '',
    failpoint: '',
    postcopyRequests: 0n,
    postcopyPushedPages: 0n,
    switchRequestedMs: 0,
    arrival: undefined,
    ...changes,
  };
}

function trial(changes: Partial<TrialRecord>): TrialRecord {
  const audit = { pages_checked: 256, faults: [], fault_count: 0, evidence: 'ledger' };
  return { ...emptyTrial('pre-copy', 1, 'completed', null), audit, ...changes };
}

/** A stream that keeps what is written to it. */
function screen(isTerminal: boolean, columns = 80): { stream: WriteStream; written: () => string } {
  let text = '';
  const stream = new PassThrough().on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  Object.assign(stream, { isTTY: isTerminal, columns });
  return { stream: stream as unknown as WriteStream, written: () => text };
}

describe('measures', () => {
  test('carry a unit that fits and about three digits', () => {
    expect([0, 999, 1024, 1_500_000, 12_345_678, 5e9].map(bytesText)).toEqual([
      '0 B',
      '999 B',
      '1.00 KiB',
      '1.43 MiB',
      '11.8 MiB',
      '4.66 GiB',
    ]);
    expect([0.1234, 9.999, 12.34, 321, 1500, 90_000, 150_000].map(durationText)).toEqual([
      '0.12 ms',
      '10.0 ms',
      '12.3 ms',
      '321 ms',
      '1.50 s',
      '90.0 s',
      '2 min 30 s',
    ]);
    expect(countText(1234567.4)).toBe('1,234,567');
  });

  test('never show sixty seconds next to minutes', () => {
    expect(durationText(179_900)).toBe('3 min 0 s');
  });
});

describe('the progress line', () => {
  test('says round, bytes, bandwidth, dirty rate, expected downtime and the time that remains', () => {
    expect(progressText(progress())).toBe(
      'active  round 2  25.0 % of 1.00 MiB  ETA 2.50 s  expected downtime 12.0 ms  1.50 GiB/s  ' +
        'dirty rate 5,000 pages/s  sent 3.00 MiB',
    );
  });

  test('leaves out what is not known yet', () => {
    const unknown = { round: 0, roundPages: 0n, dirtyRatePagesPerS: 0, bandwidthBytesPerS: 0 };
    const start = progress({ ...unknown, expectedDowntimeMs: 0, remainingMs: 0, transferredBytes: 0n });
    expect(progressText(start)).toBe('active  sent 0 B');
  });

  test('says that a migration does not converge, and at which failpoint it stands', () => {
    const text = progressText(progress({ remainingMs: -1, failpoint: 'round-2', note: 'too hot' }));
    expect(text).toMatch(/does not converge {2}.* {2}at failpoint round-2 {2}too hot$/);
  });
});

describe('the progress line of a post-copy', () => {
  const arrival = { missingPages: 192n, faults: 1234n, blocktimeMs: 56, waitingVcpus: 0, paused: false };
  const late = { round: 2, dirtyRatePagesPerS: 0, expectedDowntimeMs: 0, postcopyPushedPages: 60n, arrival };

  test('says what was pushed, how often vCPUs waited and how long, and who switched it when', () => {
    const phase = MigrationPhase.MIGRATION_PHASE_POSTCOPY_ACTIVE;
    const text = progressText(progress({ ...late, phase, postcopyRequests: 4n, switchRequestedMs: 1200 }));
    expect(text).toBe(
      'postcopy-active  25.0 % of 1.00 MiB  ETA 2.50 s  pushed 60 of 256 missing pages  1,234 faults  ' +
        'blocktime 56.0 ms  4 requests  1.50 GiB/s  sent 3.00 MiB  switched by hand after 1.20 s',
    );
  });

  test('says that the link is lost, what to do, and who waits', () => {
    const phase = MigrationPhase.MIGRATION_PHASE_POSTCOPY_PAUSED;
    const paused = { ...arrival, paused: true, waitingVcpus: 2 };
    const text = progressText(progress({ ...late, phase, remainingMs: 0, arrival: paused }));
    expect(text).toMatch(/^postcopy-paused .*no link: see `godwit recover`.* 2 vCPUs wait /);
  });
});

describe('the progress display', () => {
  test('draws one line anew on a terminal, cut to its width', () => {
    const { stream, written } = screen(true, 20);
    const display = new ProgressDisplay(stream);
    display.migration('pre-copy', progress());
    display.migration('pre-copy', progress({ round: 3 }));
    expect(written()).not.toContain('\n');
    const lines = written().split('\r\u001b[2K').slice(1);
    expect(lines).toEqual(['pre-copy  active  …', 'pre-copy  active  …']);
    display.line('done');
    expect(written().endsWith('\r\u001b[2Kdone\n')).toBe(true);
  });

  test('adds one line per round elsewhere, and no control characters', () => {
    const { stream, written } = screen(false);
    const display = new ProgressDisplay(stream);
    display.status('starting');
    for (const round of [1, 2, 2, 2, 3]) display.migration('pre-copy', progress({ round }));
    const rounds = written().match(/round \d/g) ?? [];
    // A second may pass between two lines of round 2 on a slow machine.
    expect([...new Set(rounds)]).toEqual(['round 1', 'round 2', 'round 3']);
    for (const unwanted of ['\u001b', '\r', 'starting']) expect(written()).not.toContain(unwanted);
  });

  test('begins anew with the next migration, though it is in the same round', () => {
    const { stream, written } = screen(false);
    const display = new ProgressDisplay(stream);
    display.migration('stop-and-copy', progress({ round: 1 }));
    display.end();
    display.migration('pre-copy', progress({ round: 1 }));
    expect(written()).toMatch(/^stop-and-copy .*\npre-copy .*\n$/);
  });
});

test.each([true, false])('what a migration has to say stays on the screen (terminal: %s)', (isTerminal) => {
  const { stream, written } = screen(isTerminal, 20);
  const display = new ProgressDisplay(stream);
  const note = 'xen pauses the guest for about 900 ms, longer than its downtime limit of 300 ms';
  display.migration('pre-copy', progress());
  display.migration('pre-copy', progress({ note }));
  display.migration('pre-copy', progress({ note }));
  expect(written().split(`pre-copy: ${note}\n`)).toHaveLength(2);
});

describe('the summary', () => {
  test('shows the median over the completed trials of each technique', () => {
    const text = summaryText([
      trial({ downtime_ms: 10, total_time_ms: 100 }),
      trial({ trial: 2, downtime_ms: 30, total_time_ms: 300 }),
      trial({ trial: 3, downtime_ms: 20, total_time_ms: 200 }),
      trial({ technique: 'stop-and-copy', downtime_ms: 500, transferred_bytes: 1024 ** 2 }),
    ]);
    const [heads, preCopy, stopAndCopy] = text.split('\n');
    expect(heads).toMatch(/TECHNIQUE +TRIALS +TOTAL TIME +DOWNTIME .*AUDIT$/);
    expect(preCopy).toMatch(/^pre-copy +3 +200 ms +20\.0 ms .* clean$/);
    expect(stopAndCopy).toMatch(/^stop-and-copy +1 +- +500 ms +1\.00 MiB .* clean$/);
  });

  test('shows how the pages came that were missing at the resume, only when some were', () => {
    expect(summaryText([trial({})])).not.toContain('POST-COPY');
    const latency = { p50_ms: 0.05, p90_ms: 0.1, p99_ms: 2, max_ms: 3, histogram: [] };
    const postcopy = {
      ...{
        resumed_at_ms: 300,
        resume_time_ms: 400,
        missing_pages: 5000,
        placed_pages: 5000,
        pushed_pages: 4900,
      },
      ...{ demanded_pages: 100, requests: 130, prefetch_hits: 30, faults: 150, fault_latency: latency },
      ...{ blocktime_ms: 7, vcpu_blocktime_ms: [8, 9], recoveries: 0, paused_ms: 0 },
    };
    const text = summaryText([trial({}), trial({ technique: 'post-copy', postcopy })]);
    const [, , , empty, heads, row, ...rest] = text.split('\n');
    expect([empty, rest]).toEqual(['', []]);
    const recovered = { ...postcopy, recoveries: 2, paused_ms: 1500 };
    expect(summaryText([trial({ postcopy: recovered })])).toContain(
      'connected again 2 times, 1.50 s without',
    );
    expect(heads).toMatch(/^POST-COPY +RESUME TIME +MISSING +PUSHED +DEMANDED +FAULTS +FAULT P50 +P99 /);
    expect(row).toMatch(
      /^post-copy +400 ms +5,000 +4,900 +100 +150 +0\.05 ms +2\.00 ms +7\.00 ms +9\.00 ms$/,
    );
  });

  test('shows what it cost guests that they were slowed, only when a rule was to slow them', () => {
    expect(summaryText([trial({})])).not.toContain('THROTTLE');
    const throttle = {
      ...{ rule: 'sdps', max_percent: 60, throttled_ms: 1500, vcpu_throttled_ms: [1500] },
      ...{ throttled_operations: 90_000, lost_operations: 90_100, lost_percent: 35 },
    };
    const converged = trial({ variant: 'throttle=sdps', convergence: 'converged', throttle });
    const failed = trial({ variant: 'throttle=sdps', convergence: 'max-rounds', throttle });
    const lines = summaryText([converged, failed]).split('\n');
    expect(lines.at(-2)).toMatch(
      /^THROTTLE +TECHNIQUE +CONVERGED +AT MOST +THROTTLED +LOST OPERATIONS +LOST$/,
    );
    expect(lines.at(-1)).toMatch(/^sdps +pre-copy throttle=sdps +1 of 2 +60\.0 % +1\.50 s +90,100 +35\.0 %$/);
  });

  test('shows what transforms saved and cost, only when there was more than a search for zeroes', () => {
    const zero = {
      ...{
        name: 'zero',
        variant: null,
        pages_in: 1000,
        bytes_in: 4_096_000,
        bytes_out: 2_048_000,
        ratio: 0.5,
      },
      ...{ hits: 500, misses: 0, overflows: 0, cache_bytes: 0, cpu_s: 0.001, time_ms: 2 },
      ...{ destination_cpu_s: null, destination_time_ms: null, codecs: [] },
    };
    const coded = {
      ...zero,
      name: 'compression',
      variant: 'lz4',
      ratio: 0.25,
      cpu_s: 2,
      destination_cpu_s: 1,
    };
    expect(summaryText([trial({ transforms: [zero] })])).not.toContain('TRANSFORM');
    const text = summaryText([trial({ transforms: [zero, coded] }), trial({ transforms: [zero, coded] })]);
    expect(text).toMatch(/TRANSFORM +TECHNIQUE +PAGES +BYTES IN +BYTES OUT +RATIO /);
    expect(text).toMatch(/^zero +pre-copy +1,000 +3\.91 MiB +1\.95 MiB +0\.500 +500 +0 +1\.00 ms +-$/m);
    expect(text).toMatch(/^compression: lz4 +pre-copy .* 0\.250 +500 +0 +2\.00 s +1\.00 s$/m);
  });

  test('says why rounds ended where they did so differently, and what rules did', () => {
    expect(summaryText([trial({ convergence: 'grew' })])).not.toContain('ENDED BY');
    const step = { at_ms: 1500, rule: 'nova', what: 'the downtime limit is 40 ms', value: 40 };
    const decisions = [step, { ...step, at_ms: 3000, what: 'the downtime limit is 76 ms', value: 76 }];
    const other = { at_ms: 12, rule: 'auto-converge', what: 'throttles to', value: 20 };
    const text = summaryText([
      trial({ convergence: 'converged', decisions: [...decisions, other] }),
      trial({ variant: 'stop-rule=phaul', convergence: 'grew', decisions: [] }),
      trial({ technique: 'post-copy' }),
    ]);
    expect(text).toMatch(/ROUNDS +ENDED BY +DEGRADATION/);
    expect(text).toMatch(/stop-rule=phaul .* grew +-? /);
    const nova = 'nova: 2 steps, the last: the downtime limit is 76 ms (after 3.00 s)';
    expect(text).toContain(`pre-copy, trial 1: ${nova}; auto-converge: throttles to 20 (after 12.0 ms)`);
  });

  test('tells of failed trials and leaves them out of the figures', () => {
    const failed = trial({
      trial: 2,
      status: 'failed',
      reason: 'the link broke',
      downtime_ms: 9999,
      audit: null,
    });
    const text = summaryText([trial({ downtime_ms: 10 }), failed]);
    expect(text).toMatch(/pre-copy +1 of 2 .* 10\.0 ms .* 1 of 2 clean/);
    expect(text).toContain('pre-copy, trial 2 failed: the link broke');
  });

  test('names the first page that an audit found wrong', () => {
    const faults = [{ page: 7, kind: 'torn', detail: 'lane 0' }];
    const faulty = trial({ audit: { pages_checked: 256, faults, fault_count: 3, evidence: 'ledger' } });
    expect(summaryText([faulty])).toMatch(/3 FAULTS\n.*page 7: torn: lane 0/);
    expect(succeeded(faulty)).toBe(false);
  });

  test('counts only a completed trial with a clean audit as a success', () => {
    expect(succeeded(trial({}))).toBe(true);
    expect(succeeded(trial({ audit: null }))).toBe(false);
    for (const status of ['failed', 'cancelled', 'lost'] as const)
      expect(succeeded(trial({ status }))).toBe(false);
  });

  test('shows what clients saw beside the downtime, and an answer that forgot a write is no success', () => {
    const latency = { p50: 1, p90: 1, p99: 2, p999: 2, max: 2, count: 10 };
    const client = {
      ...{ protocol: 'udp', via: 'forwarder', address: '127.0.0.1:1', rate_requests_per_s: 1000 },
      ...{ sent: 10, answered: 10, lost: 0, late: 0, wrong: 0, reconnects: 0 },
      latency_ms: { before: latency, during: { ...latency, p99: 23 }, after: latency },
      ...{ gap_ms: 13, gap_at_ms: 100, gap_minus_downtime_ms: 3 },
    };
    const tcp = { ...client, protocol: 'tcp', gap_ms: 14, gap_minus_downtime_ms: 4 };
    const seen = trial({ downtime_ms: 10, clients: [client, tcp] });
    const text = summaryText([seen]);
    expect(text).toMatch(/DOWNTIME +CLIENT GAP +TRANSFERRED/);
    expect(text).toMatch(/^pre-copy +1 +- +10\.0 ms +14\.0 ms /m);
    expect(text).toMatch(/^pre-copy, tcp +14\.0 ms +4\.00 ms +1\.00 ms +2\.00 ms +23\.0 ms .* 10 +0 +0 +0$/m);
    expect(summaryText([trial({})])).not.toContain('GAP');
    expect(succeeded(seen)).toBe(true);
    const forgetful = { ...seen, clients: [client, { ...tcp, wrong: 2 }] };
    expect(succeeded(forgetful)).toBe(false);
    expect(summaryText([forgetful])).toContain('pre-copy, trial 1: 2 answers to tcp clients forgot a write');
  });
});

test('JSON has snake_case names, enum names and whole numbers', () => {
  const guest = {
    spec: { name: 'web', memoryBytes: 1n << 30n, seed: (1n << 64n) - 1n, trace: Buffer.from('ab') },
    state: GuestState.GUEST_STATE_UNSPECIFIED,
    lost: '',
  };
  expect(plainMessage([guest])).toEqual([
    {
      spec: { name: 'web', memory_bytes: 1073741824, seed: '18446744073709551615', trace: 'YWI=' },
      state: 'GUEST_STATE_UNSPECIFIED',
      lost: '',
    },
  ]);
});
