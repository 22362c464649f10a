/**
 * What ties several keys of a spec together. Each rule answers what breaks it, with the keys that it looked
 * at.
 */

import { pageSharesFit } from '../proto/guest-spec.ts';
import { ANSWERING_WORKLOADS, AUTO } from '../proto/names.ts';
import { PAGE_BYTES } from '../proto/page.ts';
import { answersRequests } from './clients-section.ts';
import { bandwidthRules, deciderOf } from './convergence-section.ts';
import { hasPush, isConvergenceKey, MIGRATION_KEYS, migrationKeys } from './migration-keys.ts';
import { networkRules } from './network-rules.ts';
import type { BrokenRule, Path } from './problems.ts';
import { type PhaseSection, SPEC_LIMITS, type Spec, type WorkloadSection } from './schema.ts';
import { transformsRules } from './transforms-section.ts';
import { size } from './units.ts';
import { combinationsOf, listOf } from './variants.ts';
import { phaseKeys, workloadKeys } from './workload-keys.ts';

/**
 * @param written the keys of `migration` that the file has.
 * @param machineMemoryBytes the memory of the machine that is to run the spec, when it is to be run here.
 */
export function brokenRules(
  spec: Spec,
  written: readonly string[],
  machineMemoryBytes?: number,
): BrokenRule[] {
  const { guest } = spec;
  return [
    ...memoryRules(guest, machineMemoryBytes),
    ...contentRules(guest.content),
    ...workloadRules(guest.workload, guest.memory),
    ...variantRules(spec.migration),
    ...bandwidthRules(spec.migration, written),
    ...failpointRules(spec.migration),
    ...migrationKeyRules(spec.migration, written),
    ...goalRules(spec.migration),
    ...transformsRules(spec.migration.transforms),
    ...clientRules(spec),
    ...networkRules(spec),
  ];
}

function clientRules({ clients, guest: { workload } }: Spec): BrokenRule[] {
  if (clients === undefined) return [];
  const broken: BrokenRule[] = [];
  if (clients.addresses !== undefined && clients.via === 'forwarder') {
    const message = 'a forwarder has an address of its own; leave this out, or take `via: address`';
    broken.push({ path: ['clients', 'addresses'], message, because: [['clients', 'via']], key: true });
  }
  const { protocol } = clients;
  const protocols = Array.isArray(protocol) ? protocol : [protocol];
  for (const [index, name] of protocols.entries()) {
    if (protocols.indexOf(name) === index) continue;
    const message = `found "${name}" a second time; allowed is once`;
    broken.push({ path: ['clients', 'protocol', index], message });
  }
  if (!answersRequests(workload.kind)) {
    const message =
      `found clients of a guest whose workload is ${workload.kind}, which answers nobody; ` +
      `allowed are ${ANSWERING_WORKLOADS.join(' and ')}`;
    broken.push({ path: ['clients'], message, because: [['guest', 'workload', 'kind']], key: true });
  }
  return broken;
}

function memoryRules(
  { memory, count }: Spec['guest'],
  machineMemoryBytes = Number.POSITIVE_INFINITY,
): BrokenRule[] {
  const path = ['guest', 'memory'];
  const broken: BrokenRule[] = [];
  if (memory % PAGE_BYTES !== 0) {
    broken.push({ path, message: `found ${size.format(memory)}; allowed is a multiple of 4KiB, the page` });
  }
  if (2 * memory * count > machineMemoryBytes) {
    const most = size.format(Math.floor(machineMemoryBytes / count / 2 ** 21) * 2 ** 20);
    const message =
      `found ${size.format(memory)}, which source and destination both hold during the move; ` +
      `allowed is at most ${most}, half of this machine's memory${count > 1 ? ` for ${count} guests` : ''}`;
    broken.push({ path, message, because: [['guest', 'count']] });
  }
  return broken;
}

function contentRules(content: Spec['guest']['content']): BrokenRule[] {
  const { zero, duplicate, shared, image = 0 } = content;
  if (image % PAGE_BYTES !== 0) {
    const message = `found ${size.format(image)}; allowed is a multiple of ${size.format(PAGE_BYTES)}`;
    return [{ path: ['guest', 'content', 'image'], message }];
  }
  if (content['free-churn'] !== undefined && content.free === undefined) {
    const message = 'it is a rate at which free pages are taken; give free as well, such as 0.5';
    return [{ path: ['guest', 'content', 'free-churn'], message, key: true }];
  }
  if (pageSharesFit(content)) return [];
  const found = `zero ${zero}, duplicate ${duplicate} and shared ${shared}`;
  return [{ path: ['guest', 'content'], message: `found ${found}; allowed is at most 1 together` }];
}

function workloadRules(workload: WorkloadSection, memory: number): BrokenRule[] {
  const path = ['guest', 'workload'];
  const broken = [
    ...unusedKeys(path, workload, ['kind', ...workloadKeys(workload.kind)]),
    ...workingSetRules(path, workload, memory),
  ];
  if (workload.kind === 'trace' && workload.trace === undefined) {
    const message = 'trace is missing; allowed is the path of a file of lines "time-ms page"';
    broken.push({ path: [...path, 'trace'], message });
  }
  for (const [index, phase] of (workload.phases ?? []).entries()) {
    const phasePath = [...path, 'phases', index];
    broken.push(...unusedKeys(phasePath, phase, ['kind', 'duration', ...phaseKeys(phase.kind)]));
    broken.push(...workingSetRules(phasePath, phase, memory));
  }
  return broken;
}

function unusedKeys(path: Path, found: WorkloadSection | PhaseSection, used: string[]): BrokenRule[] {
  const because = [[...path, 'kind']];
  return Object.keys(found)
    .filter((key) => !used.includes(key))
    .map((key) => {
      const message = `${found.kind} does not use this key; it uses ${used.join(', ')}`;
      return { path: [...path, key], message, because, key: true };
    });
}

function workingSetRules(path: Path, found: WorkloadSection | PhaseSection, memory: number): BrokenRule[] {
  const workingSet = found['working-set'];
  if (workingSet === undefined) return [];
  const allowed = `allowed is a multiple of 4KiB, at most the guest's memory of ${size.format(memory)}`;
  if (workingSet <= memory && workingSet % PAGE_BYTES === 0) return [];
  const message = `found ${size.format(workingSet)}; ${allowed}`;
  return [{ path: [...path, 'working-set'], message, because: [['guest', 'memory']] }];
}

/** A key that no variant uses would promise something. */
function migrationKeyRules(migration: Spec['migration'], written: readonly string[]): BrokenRule[] {
  const sections = combinationsOf(migration).map(({ section }) => section);
  const used = migrationKeys(sections);
  const techniques = listOf(migration.technique);
  const pushes = techniques.some(hasPush) ? ` with push: ${listOf(migration.push).join(' and ')}` : '';
  const recoveries = written.includes('recovery') ? ` and recovery: ${String(migration.recovery)}` : '';
  const who = `${techniques.join(' and ')}${pushes}${recoveries}`;
  return MIGRATION_KEYS.filter((key) => written.includes(key) && !used.includes(key)).map((key) => {
    const decider = isConvergenceKey(key) ? deciderOf(key) : undefined;
    const rule = decider === undefined ? '' : ` with ${decider}: ${listOf(migration[decider]).join(' and ')}`;
    const message = `${who}${rule} does not use this key; it uses ${used.join(', ')}`;
    const deciders = ['technique', 'push', 'recovery', ...(decider === undefined ? [] : [decider])];
    const because: Path[] = deciders.map((name) => ['migration', name]);
    return { path: ['migration', key], message, because, key: true };
  });
}

/** A goal without a choice would promise something. */
function goalRules({ goal, technique }: Spec['migration']): BrokenRule[] {
  if (goal === undefined || listOf(technique).includes(AUTO)) return [];
  const message = `a goal is what technique ${AUTO} chooses for; leave it out, or name ${AUTO}`;
  return [{ path: ['migration', 'goal'], message, because: [['migration', 'technique']], key: true }];
}

/** What lists of values make of a migration. */
function variantRules(migration: Spec['migration']): BrokenRule[] {
  const broken: BrokenRule[] = [];
  for (const key of ['technique', ...MIGRATION_KEYS] as const) {
    if (key === 'failpoints' || key === 'transforms') continue;
    const values: unknown[] = listOf(migration[key]);
    for (const [index, value] of values.entries()) {
      if (values.indexOf(value) === index) continue;
      const message =
        'found the same value a second time; allowed is once, and trials says how often each is run';
      broken.push({ path: ['migration', key, index], message });
    }
  }
  if (combinationsOf(migration).length > SPEC_LIMITS.variantsMax) {
    const message = `found lists that make more than ${SPEC_LIMITS.variantsMax} variants; allowed are at most so many`;
    broken.push({ path: ['migration'], message });
  }
  return broken;
}

function failpointRules({ failpoints }: Spec['migration']): BrokenRule[] {
  const broken: BrokenRule[] = [];
  for (const [index, failpoint] of failpoints.entries()) {
    const path = ['migration', 'failpoints', index];
    if (failpoints.findIndex(({ at }) => at === failpoint.at) !== index) {
      const message = `found "${failpoint.at}" a second time; allowed is one fault at each point`;
      broken.push({ path: [...path, 'at'], message });
    }
    if (failpoint.do === 'delay' && failpoint.for === undefined) {
      broken.push({ path: [...path, 'for'], message: 'for is missing; allowed is a time such as 20ms' });
    }
    if (failpoint.do === 'kill' && failpoint.for !== undefined) {
      broken.push({ path: [...path, 'for'], message: 'kill does not use this key; leave it out', key: true });
    }
  }
  return broken;
}
