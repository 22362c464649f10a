/**
 * The spec's form as a JSON schema (draft 2020-12): for editors, and to look up which keys a mapping may
 * have.
 */

import { z } from 'zod';
import { specSchema } from './schema.ts';

export function specJsonSchema(): z.core.JSONSchema.JSONSchema {
  return z.toJSONSchema(specSchema, { io: 'input' });
}
