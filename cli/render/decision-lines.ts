/** What rules did in a trial: a line for all, since some take hundreds of steps. The record has each of them. */
import type { DecisionRecord } from '../../records/decision-record.ts';
import type { TrialRecord } from '../../records/result-record.ts';
import { durationText } from './measures.ts';

/** For each rule how often it did something, and what it did last; nothing when none did anything. */
export function decisionText({ decisions }: Pick<TrialRecord, 'decisions'>): string | undefined {
  const rules = Map.groupBy(decisions ?? [], ({ rule }) => rule);
  if (rules.size === 0) return undefined;
  return [...rules].map(([rule, steps]) => stepsText(rule, steps)).join('; ');
}

function stepsText(rule: string, steps: readonly DecisionRecord[]): string {
  const { what, value, at_ms } = steps.at(-1)!;
  // Most words have their figures in them.
  const figure = value === 0 || /\d/.test(what) ? '' : ` ${Number(value.toPrecision(3))}`;
  const often = steps.length === 1 ? '' : `${steps.length} steps, the last: `;
  return `${rule}: ${often}${what}${figure} (after ${durationText(at_ms)})`;
}
