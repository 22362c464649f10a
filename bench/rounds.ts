/**
 * Contenders in turn, A B C A B C ..., so that what changes on the machine over time falls on all of them
 * alike. One that cannot go on is left out, and the others go on.
 */

import { errorText } from '../proto/errors.ts';
import { PeerProblem } from './peers/peer.ts';
import { type Outcome, spreadOf } from './row.ts';

/** Does a contender's work once, and answers what was measured. */
type Run<Sample> = () => Promise<Sample>;

/** An outcome for each contender, by its name. */
export async function inRounds<Contenders extends Readonly<Record<string, Run<unknown>>>>(
  roundCount: number,
  contenders: Contenders,
): Promise<{ [Name in keyof Contenders]: Outcome<Awaited<ReturnType<Contenders[Name]>>> }> {
  const outcomes = new Map<string, Outcome<unknown>>();
  for (let round = 1; round <= roundCount; round++) {
    console.log(`  round ${round} of ${roundCount}`);
    for (const [name, run] of Object.entries(contenders)) {
      const before = outcomes.get(name) ?? { name, samples: [] };
      if ('samples' in before) outcomes.set(name, await once(before, run));
    }
  }
  return Object.fromEntries(outcomes) as Awaited<ReturnType<typeof inRounds<Contenders>>>;
}

async function once(
  { name, samples }: { readonly name: string; readonly samples: readonly unknown[] },
  run: Run<unknown>,
): Promise<Outcome<unknown>> {
  try {
    return { name, samples: [...samples, await run()] };
  } catch (error) {
    return problemOf(name, error);
  }
}

/** What godwit measured in one run of several trials. */
export async function attempt<Sample>(run: Run<readonly Sample[]>): Promise<Outcome<Sample>> {
  try {
    return { name: 'godwit', samples: await run() };
  } catch (error) {
    return problemOf('godwit', error);
  }
}

function problemOf<Sample>(name: string, error: unknown): Outcome<Sample> {
  const problem = errorText(error);
  console.log(`  ${name} is left out: ${problem}`);
  return { name, problem, failed: !(error instanceof PeerProblem) };
}

/** One measure of an outcome. */
export function measured<Sample>(
  outcome: Outcome<Sample>,
  measure: (sample: Sample) => number,
): Outcome<number> {
  if ('problem' in outcome) return outcome;
  return { name: outcome.name, samples: outcome.samples.map(measure) };
}

/**
 * The outcome with the least median. One with a problem only when all have one, or when it is godwit that
 * failed: that is not to be hidden behind another one that did not.
 */
export function best<Sample>(
  outcomes: readonly Outcome<Sample>[],
  measure: (sample: Sample) => number,
): Outcome<Sample> {
  const rank = (outcome: Outcome<Sample>): number => {
    if ('samples' in outcome) return spreadOf(outcome.samples.map(measure)).median;
    return outcome.failed ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  };
  return outcomes.reduce((least, outcome) => (rank(outcome) < rank(least) ? outcome : least));
}
