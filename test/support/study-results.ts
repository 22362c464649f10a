/** Results of a study as an experiment leaves them, made up: every kind of figure has something to show. */
import type { ResultRecord, TrialRecord } from '../../records/result-record.ts';
import { emptyTrial } from '../../records/trial-record.ts';

const TECHNIQUES = ['stop-and-copy', 'pre-copy', 'post-copy', 'hybrid'] as const;
const MEBIBYTE = 2 ** 20;

/** A number from 0 to 1 that looks like chance and is always the same. */
function wobble(seed: number): number {
  const value = Math.sin(seed * 127.1 + 311.7) * 43_758.5453;
  return value - Math.floor(value);
}

/** One trial that was completed and proven. @param scale makes its times longer. */
export function madeTrial(technique: string, trial: number, scale = 1): TrialRecord {
  const isPost = technique === 'post-copy' || technique === 'hybrid';
  const chance = wobble(trial * 17 + technique.length);
  const downtime = scale * (technique === 'stop-and-copy' ? 700 : 12) * (0.9 + 0.2 * chance);
  const total = scale * (900 + 300 * wobble(trial * 31 + technique.length));
  const parts = {
    final: downtime * 0.5,
    device: downtime * 0.1,
    handover: downtime * 0.3,
    resume: downtime * 0.1,
  };
  return {
    ...emptyTrial(technique, trial, 'completed', null),
    guest: 'guest',
    convergence: technique === 'pre-copy' ? 'converged' : null,
    total_time_ms: total,
    setup_time_ms: 20,
    downtime_ms: downtime,
    downtime_parts: {
      quiesce_ms: 0.1,
      final_pages_ms: parts.final,
      device_state_ms: parts.device,
      handover_ms: parts.handover,
      resume_ms: parts.resume,
    },
    transferred_bytes: (30 + chance) * MEBIBYTE,
    precopy_bytes: isPost ? MEBIBYTE : 25 * MEBIBYTE,
    downtime_bytes: 2 * MEBIBYTE,
    postcopy_bytes: isPost ? 26 * MEBIBYTE : 0,
    resent_bytes: technique === 'pre-copy' ? 4 * MEBIBYTE : 0,
    rounds: [
      { ...ROUND, round: 1, final: false, start_ms: 20, duration_ms: 500 },
      { ...ROUND, round: 2, final: true, start_ms: total * 0.8, duration_ms: 2 },
    ],
    transforms: [
      { ...TRANSFORM, name: 'zero' },
      { ...TRANSFORM, name: 'compression', variant: 'lz4', ratio: 0.6 },
    ],
    postcopy: isPost ? { ...POSTCOPY, resumed_at_ms: total * 0.4, resume_time_ms: total * 0.5 } : null,
    dirty_rate_pps_requested: 3000,
    dirty_rate_pps_achieved: 2990,
    degradation_percent: 10 * chance,
    operations: Array.from({ length: 80 }, (_, index) => ({
      at_ms: -200 + index * 20,
      operations_per_s: 4000 + 300 * wobble(index),
    })),
    clock_error_ms: 0,
    audit: { pages_checked: 8192, faults: [], fault_count: 0, evidence: 'ledger' },
    network: { links: [LINK], changes: [] },
    clients: [CLIENT],
  };
}

/** All techniques on the same guest, `trials` of each. */
export function madeResults(trials = 9, scale = 1): ResultRecord {
  const all = Array.from({ length: trials }, (_, index) =>
    TECHNIQUES.map((technique) => madeTrial(technique, index + 1, scale)),
  );
  return { ...RESULTS, trials: all.flat() };
}

/**
 * Pre-copy and hybrid over a bandwidth and a rate; with little bandwidth and much writing pre-copy does not
 * converge.
 */
export function sweptResults(): ResultRecord {
  const trials = [100, 200, 400].flatMap((mbit) =>
    [1000, 4000, 16_000].flatMap((rate) =>
      ['pre-copy', 'hybrid'].flatMap((technique) =>
        [1, 2, 3].map((trial): TrialRecord => {
          const isCut = technique === 'pre-copy' && rate / mbit >= 40;
          return {
            ...madeTrial(technique, trial, rate / mbit),
            variant: `max-bandwidth=${mbit}mbit rate=${rate} pages/s`,
            convergence: isCut ? 'max-rounds' : 'converged',
          };
        }),
      ),
    ),
  );
  return { ...RESULTS, trials };
}

const RESULTS = {
  godwit_version: '0.1.0',
  recorded_at: '2026-11-22T12:00:00.000Z',
  machine: {
    cpus: 2,
    cpu_model: 'a processor',
    memory_bytes: 8 * 2 ** 30,
    kernel: 'Linux 6',
    node: 'v24.0.0',
  },
  spec: {
    name: 'four-techniques',
    guest: { memory: '32MiB', workload: { kind: 'hot-cold', rate: '3000 pages/s' } },
  },
};

const ROUND = {
  ...{ pages: 6000, zero_pages: 500, sent_bytes: 25 * MEBIBYTE, resent_pages: 100, dirty_pages_after: 300 },
  ...{
    dirty_rate_pps: 800,
    bandwidth_bytes_per_s: 50 * MEBIBYTE,
    expected_downtime_ms: 20,
    skipped_pages: 0,
    free_pages: 0,
  },
};

const TRANSFORM = {
  ...{
    name: '',
    variant: null,
    pages_in: 8000,
    bytes_in: 31e6,
    bytes_out: 25e6,
    ratio: 0.8,
    hits: 900,
    misses: 0,
  },
  ...{
    overflows: 0,
    cache_bytes: 0,
    cpu_s: 0.02,
    time_ms: 20,
    destination_cpu_s: 0.01,
    destination_time_ms: 10,
  },
  codecs: [],
};

const POSTCOPY = {
  ...{ missing_pages: 7000, placed_pages: 7000, pushed_pages: 6950, demanded_pages: 50, requests: 50 },
  ...{ prefetch_hits: 3, faults: 60, blocktime_ms: 90, vcpu_blocktime_ms: [90], recoveries: 0, paused_ms: 0 },
  fault_latency: {
    ...{ p50_ms: 2, p90_ms: 6, p99_ms: 20, max_ms: 22 },
    histogram: [
      { up_to_ms: 1, faults: 20 },
      { up_to_ms: 4, faults: 30 },
      { up_to_ms: 22, faults: 10 },
    ],
  },
};

const LINK = {
  ...{
    from: 'host-1',
    to: 'host-2',
    asked_rate_bytes_per_s: 37_500_000,
    measured_rate_bytes_per_s: 37_400_000,
  },
  ...{ asked_round_trip_ms: 2, measured_round_trip_ms: 2.1, differences: [] },
};

const CLIENT = {
  ...{ protocol: 'udp', via: 'forwarder', address: '127.0.0.1:9000', rate_requests_per_s: 500, sent: 1500 },
  ...{
    answered: 1500,
    lost: 0,
    late: 0,
    wrong: 0,
    reconnects: 0,
    gap_ms: 40,
    gap_at_ms: 300,
    gap_minus_downtime_ms: 28,
  },
  latency_ms: {
    before: { p50: 1, p90: 2, p99: 5, p999: 8, max: 9, count: 400 },
    during: { p50: 2, p90: 20, p99: 45, p999: 60, max: 61, count: 500 },
    after: { p50: 1, p90: 2, p99: 6, p999: 9, max: 10, count: 600 },
  },
};
