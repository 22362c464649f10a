/**
 * What the fields of a WorkloadSpec may say: the limits and the sentences. The experiment spec asks before
 * anything starts, a host before it makes a guest, both by workloadProblems in registry.ts.
 */

import type { WorkloadPhase, WorkloadSpec } from '../proto/generated/godwit/v1/guest.ts';
import { RESPONSE_BODY_BYTES_MAX } from '../proto/guest-request.ts';
import { ANSWERING_WORKLOADS, PHASE_WORKLOADS } from '../proto/names.ts';
import { PAGE_BYTES } from '../proto/page.ts';
import { RateUnit } from '../proto/rate-unit.ts';
import { phaseRateFactor, phasesOf } from './phases.ts';
import { readTrace, TRACE_ENTRY_BYTES } from './trace.ts';
import type { WorkloadField } from './workload.ts';

export const WORKLOAD_LIMITS = {
  /** Over all vCPUs, in units per second; phases included. */
  rateMax: 10_000_000,
  thetaMax: 0.999,
  /**
   * Keeps the longest operation within the 50 microseconds after which a vCPU must have passed a
   * safepoint.
   */
  scanLengthMax: 256,
  /** For the same reason. */
  pagesPerRequestMax: 256,
  phaseCountMax: 64,
  phaseMsMin: 1,
  phaseMsMax: 3_600_000,
  rateFactorMax: 1000,
  traceEntriesMax: 1_000_000,
} as const;

/** What is wrong with one field of a WorkloadSpec whose kind uses it. */
export function fieldProblems(field: WorkloadField, spec: WorkloadSpec, pageCount: number): string[] {
  switch (field) {
    case 'rate':
      return rateProblems(spec);
    case 'workingSetBytes':
      return workingSetProblems('workload', spec.workingSetBytes, pageCount);
    case 'hot':
      return rangeProblems('workload hot', spec.hot, 0, 1);
    case 'theta':
      return rangeProblems('workload theta', spec.theta, 0, WORKLOAD_LIMITS.thetaMax);
    case 'read':
      return [...rangeProblems('workload read', spec.read, 0, 1), ...shareSumProblems(spec)];
    case 'scan':
      return rangeProblems('workload scan', spec.scan, 0, 1);
    case 'scanLength':
      return rangeProblems('workload scan-length', spec.scanLength, 1, WORKLOAD_LIMITS.scanLengthMax);
    case 'pagesPerRequest':
      return rangeProblems(
        'workload pages-per-request',
        spec.pagesPerRequest,
        1,
        WORKLOAD_LIMITS.pagesPerRequestMax,
      );
    case 'responseBytes':
      return rangeProblems('workload response-bytes', spec.responseBytes, 0, RESPONSE_BODY_BYTES_MAX);
    case 'phases':
      return phasesProblems(spec, pageCount);
    case 'trace':
      return traceProblems(spec.trace, pageCount);
  }
}

function rangeProblems(name: string, value: number, minimum: number, maximum: number): string[] {
  if (value >= minimum && value <= maximum) return [];
  return [`${name} is ${value}; allowed is ${minimum} to ${maximum}`];
}

function rateProblems(spec: WorkloadSpec): string[] {
  if (spec.rateUnit === RateUnit.RATE_UNIT_REQUESTS_ONLY) return requestsOnlyProblems(spec.kind);
  const problems = rangeProblems('workload rate', spec.rate, 0, WORKLOAD_LIMITS.rateMax);
  if (spec.kind === 'phased' && spec.rate === 0) {
    problems.push(
      `workload rate is 0 (unlimited), but the phases of phased are multiples of the rate; ` +
        `allowed is more than 0, up to ${WORKLOAD_LIMITS.rateMax}`,
    );
  }
  const updates = 1 - spec.read - spec.scan;
  if (spec.kind === 'kv' && spec.rateUnit === RateUnit.RATE_UNIT_PAGES_PER_S && updates <= SHARE_ROUNDING) {
    problems.push(
      'workload rate is in pages/s, but read and scan leave no updates that write pages; give it in ops/s',
    );
  }
  return problems;
}

/** The rate does not count then. */
function requestsOnlyProblems(kind: string): string[] {
  if ((ANSWERING_WORKLOADS as readonly string[]).includes(kind)) return [];
  return [
    `workload rate is for requests only, and ${kind} answers none; ` +
      `allowed with ${ANSWERING_WORKLOADS.join(' and ')}`,
  ];
}

/** Shares such as 0.7 + 0.3 may miss 1 by the rounding of doubles. */
const SHARE_ROUNDING = 1e-9;

function shareSumProblems(spec: WorkloadSpec): string[] {
  if (spec.read + spec.scan <= 1 + SHARE_ROUNDING) return [];
  return [
    `workload read ${spec.read} and scan ${spec.scan} are more than all operations; together at most 1`,
  ];
}

function workingSetProblems(where: string, bytes: bigint, pageCount: number): string[] {
  const memoryBytes = BigInt(pageCount) * BigInt(PAGE_BYTES);
  if (bytes === 0n || (bytes >= PAGE_BYTES && bytes <= memoryBytes)) return [];
  const allowed = `0 (all memory), or ${PAGE_BYTES} (one page) to ${memoryBytes} (the guest's memory)`;
  return [`${where} working-set is ${bytes} bytes; allowed is ${allowed}`];
}

function phasesProblems(spec: WorkloadSpec, pageCount: number): string[] {
  const count = spec.phases.length;
  if (count > WORKLOAD_LIMITS.phaseCountMax) {
    return [`workload phases are ${count}; allowed is at most ${WORKLOAD_LIMITS.phaseCountMax}`];
  }
  const problems = spec.phases.flatMap((phase, index) =>
    phaseProblems(`workload phase ${index + 1}`, phase, pageCount),
  );
  const fastest = Math.max(...phasesOf(spec, pageCount).map(phaseRateFactor)) * spec.rate;
  if (fastest > WORKLOAD_LIMITS.rateMax) {
    problems.push(
      `workload rate times the fastest phase's rate-factor is ${fastest}; ` +
        `allowed is at most ${WORKLOAD_LIMITS.rateMax}`,
    );
  }
  return problems;
}

function phaseProblems(where: string, phase: WorkloadPhase, pageCount: number): string[] {
  const { phaseMsMin, phaseMsMax, rateFactorMax, thetaMax } = WORKLOAD_LIMITS;
  const problems: string[] = [];
  if (!(PHASE_WORKLOADS as readonly string[]).includes(phase.kind)) {
    problems.push(`${where} kind is "${phase.kind}"; allowed is ${PHASE_WORKLOADS.join(', ')}`);
  }
  if (!(phase.durationMs >= phaseMsMin && phase.durationMs <= phaseMsMax)) {
    problems.push(`${where} duration is ${phase.durationMs} ms; allowed is 1 ms to 1 hour`);
  }
  problems.push(...rangeProblems(`${where} rate-factor`, phase.rateFactor, 0, rateFactorMax));
  problems.push(...workingSetProblems(where, phase.workingSetBytes, pageCount));
  if (phase.kind === 'hot-cold') problems.push(...rangeProblems(`${where} hot`, phase.hot, 0, 1));
  if (phase.kind === 'zipf') problems.push(...rangeProblems(`${where} theta`, phase.theta, 0, thetaMax));
  return problems;
}

/** The first of each sort: one bad entry must not give a million sentences. */
function traceProblems(bytes: Uint8Array, pageCount: number): string[] {
  const { traceEntriesMax } = WORKLOAD_LIMITS;
  const entries = bytes.byteLength / TRACE_ENTRY_BYTES;
  if (!Number.isInteger(entries) || entries < 1 || entries > traceEntriesMax) {
    const allowed = `1 to ${traceEntriesMax} entries of ${TRACE_ENTRY_BYTES} bytes`;
    return [`workload trace is ${bytes.byteLength} bytes; allowed is ${allowed}`];
  }
  const { timesUs, pages } = readTrace(bytes);
  const problems: string[] = [];
  const outside = pages.findIndex((page) => page >= pageCount);
  if (outside >= 0) {
    problems.push(
      `workload trace entry ${outside + 1} writes page ${pages[outside]}; allowed is 0 to ${pageCount - 1}`,
    );
  }
  const falling = timesUs.findIndex((time, index) => index > 0 && time < (timesUs[index - 1] as number));
  if (falling >= 0) {
    const times = `${timesUs[falling]} us, after one at ${timesUs[falling - 1]} us`;
    problems.push(`workload trace entry ${falling + 1} is at ${times}; allowed are times that never fall`);
  }
  return problems;
}
