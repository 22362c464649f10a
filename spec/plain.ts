/**
 * The resolved spec in the form in which people write it: what is stored with the results. Parsing it again
 * gives the same experiment.
 */

import {
  type ContentModel,
  RateUnit,
  type WorkloadPhase,
  type WorkloadSpec,
} from '../proto/generated/godwit/v1/guest.ts';
import type { WorkloadKind } from '../proto/names.ts';
import type { ResolvedClients } from './clients-section.ts';
import { plainMigration } from './migration-plain.ts';
import { plainNetwork } from './network-plain.ts';
import type { Plain, PlainMapping } from './plain-values.ts';
import type { ResolvedSpec } from './resolve.ts';
import type { PhaseSection } from './schema.ts';
import { duration, pageRate, rate, requestRate, size } from './units.ts';
import { phaseKeys, workloadKeys } from './workload-keys.ts';

export function toPlain(resolved: ResolvedSpec): PlainMapping {
  const { guest, fabric, variants } = resolved;
  const { technique, ...options } = plainMigration(variants.map((variant) => variant.options));
  const noContent = { zero: 0, duplicate: 0, shared: 0, compressible: 0 };
  const content: ContentModel = guest.content ?? noContent;
  return {
    name: resolved.name,
    seed: resolved.seed,
    trials: resolved.trials,
    'warm-up': duration.format(resolved.warmUpMs),
    settle: duration.format(resolved.settleMs),
    fabric: { ...fabric },
    guest: {
      name: guest.name,
      count: resolved.guestCount,
      memory: size.format(Number(guest.memoryBytes)),
      vcpus: guest.vcpuCount,
      'device-state': size.format(Number(guest.deviceStateBytes)),
      content: plainContent(content),
      ...(guest.workload && { workload: plainWorkload(guest.workload, resolved.traceFile) }),
    },
    migration: {
      technique: technique!,
      ...(resolved.from !== '' && { from: resolved.from }),
      ...(resolved.to !== '' && { to: resolved.to }),
      'all-at-once': resolved.allAtOnce,
      predict: resolved.predict,
      ...options,
    },
    ...(resolved.clients && { clients: plainClients(resolved.clients) }),
    ...plainNetwork(resolved.network),
  };
}

function plainContent({
  imageBytes,
  free,
  freeChurnPagesPerS: churn,
  ...shares
}: ContentModel): PlainMapping {
  return {
    ...shares,
    ...(imageBytes !== undefined && { image: size.format(Number(imageBytes)) }),
    ...(free !== undefined && { free }),
    ...(churn !== undefined && { 'free-churn': pageRate.format(churn) }),
  };
}

function plainClients({ protocols, announce, ...load }: ResolvedClients): PlainMapping {
  return {
    protocol: [...protocols],
    rate: requestRate.format(load.ratePerS),
    arrivals: load.arrivals,
    read: load.read,
    keys: load.keys,
    via: load.via,
    ...(load.addresses !== undefined && { addresses: load.addresses }),
    timeout: duration.format(load.timeoutMs),
    announce: {
      delay: duration.format(announce.delayMs),
      initial: duration.format(announce.initialMs),
      max: duration.format(announce.maxMs),
      step: duration.format(announce.stepMs),
      rounds: announce.rounds,
    },
  };
}

function plainWorkload(workload: WorkloadSpec, traceFile: string | undefined): PlainMapping {
  const isForRequests = workload.rateUnit === RateUnit.RATE_UNIT_REQUESTS_ONLY;
  const of = workload.rateUnit === RateUnit.RATE_UNIT_OPERATIONS_PER_S ? 'ops' : 'pages';
  const values: Record<ReturnType<typeof workloadKeys>[number], Plain | undefined> = {
    rate: isForRequests ? undefined : rate.format({ perS: workload.rate, of }),
    'working-set': plainWorkingSet(workload.workingSetBytes),
    hot: workload.hot,
    theta: workload.theta,
    read: workload.read,
    scan: workload.scan,
    'scan-length': workload.scanLength,
    'pages-per-request': workload.pagesPerRequest,
    'response-size': size.format(workload.responseBytes),
    phases: workload.phases.length === 0 ? undefined : workload.phases.map(plainPhase),
    trace: traceFile,
  };
  return { kind: workload.kind, ...chosen(values, workloadKeys(workload.kind as WorkloadKind)) };
}

function plainPhase(phase: WorkloadPhase): PlainMapping {
  const values: Record<ReturnType<typeof phaseKeys>[number], Plain | undefined> = {
    'rate-factor': phase.rateFactor,
    'working-set': plainWorkingSet(phase.workingSetBytes),
    hot: phase.hot,
    theta: phase.theta,
  };
  const { kind, durationMs } = phase;
  const used = phaseKeys(kind as PhaseSection['kind']);
  return { kind, duration: duration.format(durationMs), ...chosen(values, used) };
}

/** 0 is all memory, which is what the key's absence says. */
function plainWorkingSet(bytes: bigint): string | undefined {
  return bytes === 0n ? undefined : size.format(Number(bytes));
}

function chosen<Key extends string>(values: Record<Key, Plain | undefined>, keys: Key[]): PlainMapping {
  const mapping: PlainMapping = {};
  for (const key of keys) {
    const value = values[key];
    if (value !== undefined) mapping[key] = value;
  }
  return mapping;
}
