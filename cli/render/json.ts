/**
 * The contracts' messages as JSON for programs: names in snake_case as in the .proto files, enums by their
 * names, whole numbers as numbers, nothing left out.
 */
import { dirtyRateModeToJSON } from '../../proto/generated/godwit/v1/dirty_rate.ts';
import { guestStateToJSON, rateUnitToJSON } from '../../proto/generated/godwit/v1/guest.ts';
import {
  failpointActionToJSON,
  migrationPhaseToJSON,
  onTimeoutToJSON,
  postcopyBubbleToJSON,
  postcopyPushToJSON,
  postcopyRecoveryToJSON,
} from '../../proto/generated/godwit/v1/migration.ts';
import { linkDirectionToJSON, linkFaultKindToJSON } from '../../proto/generated/godwit/v1/network.ts';

/** The fields that hold enums: as a number the same name means the same enum in every message. */
const ENUM_FIELDS = new Map<string, (value: never) => string>([
  ['state', guestStateToJSON],
  ['phase', migrationPhaseToJSON],
  ['onTimeout', onTimeoutToJSON],
  ['push', postcopyPushToJSON],
  ['bubble', postcopyBubbleToJSON],
  ['recovery', postcopyRecoveryToJSON],
  ['action', failpointActionToJSON],
  ['rateUnit', rateUnitToJSON],
  ['kind', linkFaultKindToJSON],
  ['direction', linkDirectionToJSON],
  ['mode', dirtyRateModeToJSON],
]);

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** A message, or a list of messages, as values that JSON knows. */
export function plainMessage(value: unknown): unknown {
  if (typeof value === 'bigint') {
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value.toString();
  }
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (Array.isArray(value)) return value.map(plainMessage);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([name, field]: [string, unknown]) => {
    const enumName = ENUM_FIELDS.get(name);
    const plain =
      enumName === undefined || typeof field !== 'number' ? plainMessage(field) : enumName(field as never);
    return [snakeCase(name), plain];
  });
  return Object.fromEntries(entries);
}

/** Prints a value as JSON: over several lines, or one line for each when there are many to come. */
export function printJson(value: unknown, form: 'pretty' | 'line' = 'pretty'): void {
  console.log(JSON.stringify(plainMessage(value), undefined, form === 'pretty' ? 2 : undefined));
}
