/** Holds a spec's data against the schema, and says in our own words and with positions what zod found. */

import type { z } from 'zod';
import { TECHNIQUES } from '../proto/names.ts';
import { specJsonSchema } from './json-schema.ts';
import { type Path, type SpecProblem, show, suggestion } from './problems.ts';
import { SPEC_LIMITS, type Spec, specSchema } from './schema.ts';
import type { YamlDocument } from './yaml-document.ts';

export interface Form {
  /**
   * With defaults for what is wrong, so that the rules can be held against the rest; undefined if that
   * cannot be.
   */
  readonly spec: Spec | undefined;
  /** The ways to what is wrong. */
  readonly wrong: Path[];
  readonly problems: SpecProblem[];
}

export function readForm(yaml: YamlDocument): Form {
  const parsed = specSchema.safeParse(yaml.data);
  if (parsed.success) return { spec: parsed.data, wrong: [], problems: [] };
  const issues = parsed.error.issues.slice(0, SPEC_LIMITS.problemsMax);
  const wrong = issues.flatMap(issuePaths);
  const problems = issues.flatMap((issue) => issueProblems(issue, yaml));
  return { spec: specWithout(wrong, yaml.data), wrong, problems };
}

/** zod's word for a problem, as many problems as there are keys in it. */
function issueProblems(issue: z.core.$ZodIssue, yaml: YamlDocument): SpecProblem[] {
  const path = pathOf(issue);
  if (issue.code === 'unrecognized_keys') {
    const keys = keysAllowedAt(path);
    return issue.keys.slice(0, SPEC_LIMITS.problemsMax).map((key) => {
      const message = `found an unknown key; allowed are ${keys.join(', ')}${suggestion(key, keys)}`;
      return yaml.problemAt([...path, key], message, 'key');
    });
  }
  const branch = issue.code === 'invalid_union' ? deepestBranch(issue) : undefined;
  if (branch !== undefined) {
    return branch.flatMap((inner) => issueProblems({ ...inner, path: [...path, ...inner.path] }, yaml));
  }
  const names = issue.code === 'invalid_value' ? issue.values.map(String) : [];
  return [valueProblem(path, issue.message, names, yaml)];
}

/** Of the ways to read a value the one that got further in than the value itself, if there is one. */
function deepestBranch(issue: z.core.$ZodIssueInvalidUnion): z.core.$ZodIssue[] | undefined {
  return issue.errors.find((branch) =>
    branch.some(({ path, code }) => path.length > 0 || code === 'too_small'),
  );
}

function valueProblem(
  path: Path,
  allowed: string,
  names: readonly string[],
  yaml: YamlDocument,
): SpecProblem {
  const value = valueAt(path, yaml.data);
  const found = value === undefined ? `${path.at(-1)} is missing` : `found ${show(value)}`;
  return yaml.problemAt(path, `${found}; allowed is ${allowed}${suggestion(value, names)}`);
}

function pathOf(issue: { path: readonly PropertyKey[] }): Path {
  return issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
}

function issuePaths(issue: z.core.$ZodIssue): Path[] {
  const path = pathOf(issue);
  return issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...path, key]) : [path];
}

function valueAt(path: Path, data: unknown): unknown {
  let value = data;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string | number, unknown>)[part];
  }
  return value;
}

function keysAllowedAt(path: Path): string[] {
  // What may stand there is one of several forms, where a union says so.
  let forms = [specJsonSchema()];
  for (const part of path) {
    forms = forms.flatMap((schema) => {
      const byKey = schema.properties?.[part] ?? schema.additionalProperties;
      const inner = typeof part === 'number' ? schema.items : byKey;
      if (typeof inner !== 'object' || Array.isArray(inner)) return [];
      return [inner, ...(inner.anyOf ?? [])].filter((form) => typeof form === 'object');
    });
  }
  return forms.flatMap(({ properties }) => Object.keys(properties ?? {}));
}

/**
 * The spec with its wrong values left out, so that the rules can be held against the rest; if that is one.
 */
function specWithout(wrong: readonly Path[], data: unknown): Spec | undefined {
  const copy = structuredClone(data);
  if (typeof copy !== 'object' || copy === null || Array.isArray(copy)) return undefined;
  for (const path of wrong) remove(path, copy);
  const { guest = {}, migration = {} } = copy as { guest?: object; migration?: object };
  const filled = { ...copy, guest, migration: { technique: TECHNIQUES[0], ...migration } };
  const { data: spec, error } = specSchema.safeParse(filled);
  // A mapping that now lacks what it must have goes as a whole.
  for (const issue of error?.issues ?? []) remove(pathOf(issue).slice(0, -1), filled);
  return spec ?? specSchema.safeParse(filled).data;
}

/** Takes away the value at a path, or the whole list that it is in. */
function remove(path: Path, data: object): void {
  const list = path.findIndex((part) => typeof part === 'number');
  const keys = list === -1 ? path : path.slice(0, list);
  const parent = valueAt(keys.slice(0, -1), data);
  const key = keys.at(-1);
  if (key === undefined || typeof parent !== 'object' || parent === null) return;
  delete (parent as Record<string, unknown>)[key];
}
