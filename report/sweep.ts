/**
 * Which of a spec's keys were varied over numbers: what a variant's name says, such as "max-bandwidth=1gbit
 * pivots=3".
 */
import { bandwidth, duration, rate, size } from '../spec/units.ts';
import type { Group } from './study.ts';

/** What a swept key is in: decides how its axis is written. */
export const SWEEP_UNIT = { none: '', bytes: 'bytes', ms: 'ms', bytesPerS: 'bytes/s', perS: '1/s' } as const;
export type SweepUnit = (typeof SWEEP_UNIT)[keyof typeof SWEEP_UNIT];

export interface SweptKey {
  readonly key: string;
  readonly unit: SweepUnit;
  /** Ascending, at least two. */
  readonly values: readonly SweptValue[];
}

export interface SweptValue {
  readonly value: number;
  /** As the spec has it. */
  readonly text: string;
}

/** The keys and values in a variant's name; a value may hold spaces, such as "rate=1000 pages/s". */
export function settingsOf(variant: string | null): ReadonlyMap<string, string> {
  const settings = new Map<string, string>();
  if (variant === null) return settings;
  const keys = [...variant.matchAll(/(?:^| )([a-z][a-z0-9.-]*)=/g)];
  for (const [index, match] of keys.entries()) {
    const next = keys[index + 1]?.index ?? variant.length;
    settings.set(match[1]!, variant.slice(match.index + match[0].length, next));
  }
  return settings;
}

/** The keys of which at least two values are numbers, and none is anything else; in the order of the names. */
export function sweptKeys(groups: readonly Group[]): SweptKey[] {
  const all = groups.map(({ variant }) => settingsOf(variant));
  const keys = new Set(all.flatMap((settings) => [...settings.keys()]));
  return [...keys].flatMap((key): SweptKey[] => {
    const texts = [...new Set(all.flatMap((settings) => settings.get(key) ?? []))];
    const numbers = texts.map(numberOf);
    const [first] = numbers;
    const unit = first?.unit;
    if (texts.length < 2 || unit === undefined || numbers.some((number) => number?.unit !== unit)) return [];
    const values = numbers.map((number, index) => ({ value: number!.value, text: texts[index]! }));
    return [{ key, unit, values: values.sort((a, b) => a.value - b.value) }];
  });
}

/** A value that has a place on an axis; "unlimited" has none. */
export function numberOf(text: string): { readonly value: number; readonly unit: SweepUnit } | undefined {
  if (/^\d+(\.\d+)?$/.test(text)) return { value: Number(text), unit: SWEEP_UNIT.none };
  const bytes = size.parse(text);
  if (bytes !== undefined) return { value: bytes, unit: SWEEP_UNIT.bytes };
  const ms = duration.parse(text);
  if (ms !== undefined) return { value: ms, unit: SWEEP_UNIT.ms };
  const bytesPerS = bandwidth.parse(text);
  if (bytesPerS !== undefined && bytesPerS > 0) return { value: bytesPerS, unit: SWEEP_UNIT.bytesPerS };
  const perS = rate.parse(text)?.perS ?? 0;
  return perS > 0 ? { value: perS, unit: SWEEP_UNIT.perS } : undefined;
}
