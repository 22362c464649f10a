/**
 * Reads an experiment spec. Everything that is wrong with it is told at once, each with its line and column,
 * what was found and what is allowed; a spec with any problem is never half used.
 */

import { readFileSync, statSync } from 'node:fs';
import { totalmem } from 'node:os';
import { errorText } from '../proto/errors.ts';
import type { GuestSpec } from '../proto/generated/godwit/v1/guest.ts';
import { workloadPageCount } from '../proto/guest-network.ts';
import { guestSpecProblems } from '../proto/guest-spec.ts';
import { requestedOptionsProblems } from '../proto/migration-options.ts';
import { workloadProblems } from '../workloads/registry.ts';
import { readForm } from './form.ts';
import { fabricHosts, planRules } from './network-rules.ts';
import { type BrokenRule, SpecError, touches } from './problems.ts';
import { guestsOf, type ResolvedSpec, resolve } from './resolve.ts';
import { brokenRules } from './rules.ts';
import { SPEC_LIMITS } from './schema.ts';
import { parseYaml } from './yaml-document.ts';

/**
 * The experiment in a file, which is to be run on this machine.
 * @throws SpecError with everything that is wrong with it.
 */
export function loadSpec(file: string): ResolvedSpec {
  return parseSpec(readText(file), file, totalmem());
}

/**
 * The experiment in a text.
 * @param file the text's own path, for messages and as the place where a trace's path begins.
 * @param machineMemoryBytes the memory of the machine that is to run it, when the guest must fit there.
 * @throws SpecError with everything that is wrong with it.
 */
export function parseSpec(text: string, file: string, machineMemoryBytes?: number): ResolvedSpec {
  const yaml = parseYaml(text, file);
  if (yaml.problems.length > 0) throw new SpecError(yaml.problems);
  const { spec, wrong, problems } = readForm(yaml);
  // Each rule is held only against what nothing before it has found wrong.
  const report = (rules: readonly BrokenRule[]): void => {
    const broken = rules.filter(({ path, because = [] }) => {
      const depends = [path, ...because];
      return !wrong.some((other) => depends.some((one) => touches(one, other)));
    });
    for (const { path, message, key = false } of broken) {
      problems.push(yaml.problemAt(path, message, key ? 'key' : 'value'));
      wrong.push(path);
    }
  };
  if (spec !== undefined) {
    report(brokenRules(spec, keysIn(yaml.data, 'migration'), machineMemoryBytes));
    const { resolved, traceProblems } = resolve(spec, file);
    report(traceProblems.map((problem) => ({ ...problem, because: [['guest', 'memory']] })));
    if (problems.length === 0) report(planRules(resolved.network, fabricHosts(spec.fabric)));
    report(refusals(resolved));
    if (problems.length === 0) return resolved;
  }
  throw new SpecError(problems.sort((a, b) => a.line - b.line || a.column - b.column));
}

/** The keys of a section, as far as the file has it in the form of one. */
function keysIn(data: unknown, section: string): string[] {
  const found = (data as Record<string, unknown>)[section];
  return typeof found === 'object' && found !== null ? Object.keys(found) : [];
}

function readText(file: string): string {
  const failed = (message: string) => new SpecError([{ file, line: 1, column: 1, path: '', message }]);
  let bytes: Buffer;
  try {
    const fileBytes = statSync(file).size;
    if (fileBytes > SPEC_LIMITS.fileBytesMax) {
      throw failed(
        `found a file of ${fileBytes} bytes; allowed is at most ${SPEC_LIMITS.fileBytesMax} bytes`,
      );
    }
    bytes = readFileSync(file);
  } catch (error) {
    if (error instanceof SpecError) throw error;
    throw failed(`cannot read the spec: ${readingProblem(error)}`);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw failed('found bytes that are not UTF-8; allowed is a text in UTF-8');
  }
}

function readingProblem(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EISDIR') return 'it is a folder; name the file in it';
  return errorText(error);
}

/** As a guest with clients will have one. */
const SOME_NETWORK = { address: '', port: 0, forwarder: '127.0.0.1:1', token: '' } as const;

/** What the coordinator and the hosts would refuse, should the form and the rules let it pass. */
function refusals(resolved: ResolvedSpec): BrokenRule[] {
  const { variants, clients } = resolved;
  // The last guest has the longest name. Where clients come in is not known yet.
  const network = clients && { ...SOME_NETWORK, announce: clients.announce };
  const guest: GuestSpec = { ...guestsOf(resolved).at(-1)!, network };
  const pageCount = workloadPageCount(guest);
  const workload = guest.workload === undefined ? [] : workloadProblems(guest.workload, pageCount);
  const options = new Set(variants.flatMap((variant) => requestedOptionsProblems(variant.options)));
  return [
    ...workload.map((message) => ({ path: ['guest', 'workload'], message, because: [['guest', 'memory']] })),
    ...guestSpecProblems(guest).map((message) => ({ path: ['guest'], message, because: [['clients']] })),
    ...[...options].map((message) => ({ path: ['migration'], message })),
  ];
}
