/**
 * The kinds of values that a spec's keys have. Each makes a zod schema whose every error message is one
 * phrase that says what is allowed; parse-spec.ts puts what was found before it.
 */

import { z } from 'zod';
import { nameProblem } from '../proto/names.ts';
import { rate, UNLIMITED, type Unit } from './units.ts';

/** A mapping with these keys and no others. */
export function section<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  const keys = Object.keys(shape).join(', ');
  return z.strictObject(shape, { error: `a mapping with the keys ${keys}` });
}

export function integer(min: number, max: number) {
  const error = `a whole number from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

/** A number from 0 to `max`, 1 unless told. */
export function share(max = 1) {
  const error = `a number from 0 to ${max}`;
  return z.number({ error }).min(0, { error }).max(max, { error });
}

export function choice<const Names extends readonly [string, ...string[]]>(names: Names) {
  return z.enum(names, { error: names.length === 1 ? names[0] : `one of ${names.join(', ')}` });
}

export function flag() {
  return z.boolean({ error: 'true or false' });
}

/** A name as guests and hosts have them. */
export function name() {
  const error = 'a name: 1 to 63 of a-z, 0-9, "-" and ".", beginning and ending with a letter or digit';
  return z.string({ error }).refine((text) => nameProblem(text) === undefined, { error });
}

/** Anything but nothing. */
export function text(allowed: string) {
  return z.string({ error: allowed }).min(1, { error: allowed });
}

/** A value with a unit within bounds, or unlimited where the unit knows that word. A bare 0 needs no unit. */
export function quantity(unit: Unit<number>, min: number, max: number) {
  const error = `${unit.allowed}, from ${unit.format(min)} to ${unit.format(max)}`;
  const text = z.string({ error }).meta({ examples: [...unit.examples] });
  const input = min === 0 ? z.union([text, z.literal(0)], { error }) : text;
  return input.transform((found, context) => {
    if (found === 0) return 0;
    const value = unit.parse(found);
    const unlimited = value !== undefined && found.trim() === UNLIMITED;
    if (value !== undefined && (unlimited || (value >= min && value <= max))) return value;
    context.addIssue(error);
    return z.NEVER;
  });
}

/** A value, or a list of such values: the experiment has a variant for each. */
export function listable<Schema extends z.ZodType>(one: Schema) {
  const list = z.array(one).min(1, { error: 'at least one value' });
  // What each of them may be is known to the value's own schema.
  const allowed = (issue: z.core.$ZodRawIssue<z.core.$ZodIssueInvalidUnion>): string =>
    `${issue.errors[0]?.[0]?.message}${OR_A_LIST}`;
  return z.union([one, list], { error: (issue) => allowed(issue as never) });
}

/** Ends what is said of a value that may be a list. */
export const OR_A_LIST = ', or a list of them';

/** A workload's target rate. */
export function targetRate(max: number) {
  const error = `${rate.allowed}, at most ${max}/s`;
  const text = z.string({ error }).meta({ examples: [...rate.examples] });
  return text.transform((found, context) => {
    const value = rate.parse(found);
    if (value !== undefined && value.perS <= max) return value;
    context.addIssue(error);
    return z.NEVER;
  });
}
