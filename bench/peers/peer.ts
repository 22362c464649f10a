/**
 * The programs that godwit is measured against. They belong to others and need not be there: what is missing,
 * or does not work, is a sentence in the results and no failure of the benchmark.
 */

import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { errorText } from '../../proto/errors.ts';
import { Child, isInstalled } from '../children.ts';

/** Why a peer was not measured. */
export class PeerProblem extends Error {}

/** Runs a peer; whatever goes wrong is a PeerProblem. */
export async function asPeer<Answer>(program: string, run: () => Promise<Answer>): Promise<Answer> {
  if (!isInstalled(program)) {
    throw new PeerProblem(`${program} is not installed; apt-get install iperf3 qemu-system-x86`);
  }
  try {
    return await run();
  } catch (error) {
    throw new PeerProblem(`${program}: ${errorText(error)}`, { cause: error });
  }
}

/** The first number with dots of what a program says of its version, or null when it is not installed. */
export async function programVersion(program: string): Promise<string | null> {
  if (!isInstalled(program)) return null;
  const { text } = await new Child([program, '--version']).output(DEADLINES_MS.query);
  return /\d+(\.\d+)+/.exec(text)?.[0] ?? null;
}
