/**
 * What ties several keys of a spec together. Each rule answers what breaks it, with the keys that it looked
 * at.
 */

import { pageSharesFit } from '../proto/guest-spec.ts';
import { ANSWERING_WORKLOADS } from '../proto/names.ts';
import { PAGE_BYTES } from '../proto/page.ts';
import { answersRequests } from './clients-section.ts';
import { hasPush, migrationKeys, unusedMigrationKeys } from './migration-keys.ts';
import { networkRules } from './network-rules.ts';
import type { BrokenRule, Path } from './problems.ts';
import type { PhaseSection, Spec, WorkloadSection } from './schema.ts';
import { transformsRules } from './transforms-section.ts';
import { size } from './units.ts';
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
    ...migrationRules(spec.migration),
    ...migrationKeyRules(spec.migration, written),
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
  if (pageSharesFit(content)) return [];
  const { zero, duplicate, shared } = content;
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

/** A key that none of the techniques uses would promise something. */
function migrationKeyRules({ technique, push }: Spec['migration'], written: readonly string[]): BrokenRule[] {
  const techniques = Array.isArray(technique) ? technique : [technique];
  const who = `${techniques.join(' and ')}${hasPush(techniques) ? ` with push: ${push}` : ''}`;
  const message = `${who} does not use this key; it uses ${migrationKeys(techniques, push).join(', ')}`;
  const because: Path[] = [
    ['migration', 'technique'],
    ['migration', 'push'],
  ];
  return unusedMigrationKeys(techniques, push, written).map((key) => {
    return { path: ['migration', key], message, because, key: true };
  });
}

function migrationRules({ technique, failpoints }: Spec['migration']): BrokenRule[] {
  const broken: BrokenRule[] = [];
  const techniques = Array.isArray(technique) ? technique : [technique];
  for (const [index, name] of techniques.entries()) {
    if (techniques.indexOf(name) === index) continue;
    const message = `found "${name}" a second time; allowed is once, and trials says how often each is run`;
    broken.push({ path: ['migration', 'technique', index], message });
  }
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
