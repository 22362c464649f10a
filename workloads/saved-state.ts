/**
 * Reading of states that `save` answered and that came back over the network: every number is checked before
 * use.
 */

/** An array of exactly `length` parts; throws otherwise. `what` names the workload. */
export function savedParts(state: unknown, length: number, what: string): unknown[] {
  if (Array.isArray(state) && state.length === length) return state as unknown[];
  const found = Array.isArray(state) ? `${state.length} parts` : typeof state;
  throw new Error(`loading the state of ${what}: found ${found}; allowed is an array of ${length} parts`);
}

/** A whole number from 0 to `maximum`; throws otherwise. */
export function savedNumber(value: unknown, maximum: number, what: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= maximum) return value;
  throw new Error(`loading the state of ${what}: found ${String(value)}; allowed is 0 to ${maximum}`);
}
