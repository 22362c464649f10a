/**
 * The one error that crosses the parts: a gRPC status by its name and a sentence for people. A handler throws
 * it, the caller on the other side catches its like, so both speak of the same thing.
 */

import type { status } from '@grpc/grpc-js';

/** A gRPC status by its name: NOT_FOUND, UNAVAILABLE, ... (https://grpc.io/docs/guides/status-codes). */
export type StatusName = Exclude<keyof typeof status, 'OK'>;

/** By their numbers. Not from the library, which every thread would load: 26 ms of each one's start. */
const STATUS_NAMES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const satisfies readonly (keyof typeof status)[];

export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly code: StatusName;
  /** What the other side said, without what the caller put before it. */
  readonly details: string;

  constructor(code: StatusName, message: string, options: { details?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? message;
  }
}

/** The name of a status number; a number that gRPC does not know is UNKNOWN. */
export function statusName(code: number): StatusName {
  const name = STATUS_NAMES[code];
  return name === undefined || name === 'OK' ? 'UNKNOWN' : name;
}

/** Whether the other side could not be asked, or did not answer in time: nothing is known of what it did. */
export function isUnanswered(error: unknown): boolean {
  return error instanceof RpcError && (error.code === 'UNAVAILABLE' || error.code === 'DEADLINE_EXCEEDED');
}

/** An error's text without its stack, whatever was thrown. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
