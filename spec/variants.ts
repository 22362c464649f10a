/**
 * A spec whose migration lists several values for a key has a variant for each: the product of all lists, from which
 * combinations are left out that would differ in a key that they do not use. Everything behind this step knows
 * variants only, and each of them has one value for each key.
 */

import type { MigrationOptions } from '../proto/generated/godwit/v1/migration.ts';
import { AUTO, type TechniqueAsked } from '../proto/names.ts';
import { DECIDING_KEYS, MIGRATION_KEYS, type MigrationKey, usesKey } from './migration-keys.ts';
import { SPEC_LIMITS, type Spec } from './schema.ts';
import { type TransformList, transformLists } from './transforms-section.ts';

type Section = Spec['migration'];
/** The value of a key that may be a list of such values. */
type One<Value> = Value extends readonly (infer Each)[] ? Each : Value;

/** A migration with one value for each key; failpoints and transforms are lists by themselves. */
export type SingleMigration = {
  readonly [Key in keyof Section]: Key extends 'failpoints'
    ? Section[Key]
    : Key extends 'transforms'
      ? TransformList
      : One<Section[Key]>;
};

/** One way to migrate of those that an experiment compares. */
export interface MigrationVariant {
  readonly technique: TechniqueAsked;
  /** What tells it from the other variants of its technique, such as "push=none"; empty when there is nothing. */
  readonly name: string;
  readonly options: Readonly<MigrationOptions>;
}

/** What tells a variant's trials from others of the technique that they had: that it was chosen, too. */
export function recordedVariant({ technique, name }: MigrationVariant): string | null {
  return [technique === AUTO ? AUTO : '', name].filter((text) => text !== '').join(' ') || null;
}

/** A variant's section, and the keys in which it differs from others. */
export interface Combination {
  readonly section: SingleMigration;
  readonly varied: readonly MigrationKey[];
}

/**
 * The combinations of a migration's lists, the first list outermost: technique, push and recovery, which decide what
 * other keys say, and then the others in the schema's order. Of too many it answers one too many.
 */
export function combinationsOf(migration: Section): Combination[] {
  const techniques = listOf(migration.technique);
  let combinations = techniques.map((technique): Combination => {
    return { section: { ...migration, technique } as SingleMigration, varied: [] };
  });
  const others = MIGRATION_KEYS.filter((key) => !DECIDING_KEYS.includes(key) && key !== 'failpoints');
  for (const key of [...DECIDING_KEYS, ...others]) {
    const values = key === 'transforms' ? transformLists(migration.transforms) : listOf(migration[key]);
    combinations = combinations.flatMap(({ section, varied }) => {
      const having = (value: unknown) => ({ ...section, [key]: value }) as SingleMigration;
      if (values.length === 1 || !usesKey(section, key)) return { section: having(values[0]), varied };
      return values.map((value) => ({ section: having(value), varied: [...varied, key] }));
    });
    combinations = combinations.slice(0, SPEC_LIMITS.variantsMax + 1);
  }
  return combinations;
}

/** The values of a key: its list, or its one value. */
export function listOf<Value>(value: Value): One<Value>[] {
  return (Array.isArray(value) ? value : [value]) as One<Value>[];
}
