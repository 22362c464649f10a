/**
 * The one error that crosses the parts: a gRPC status by its name and a sentence for people. A handler throws
 * it, the caller on the other side catches its like, so both speak of the same thing.
 */

import { status } from '@grpc/grpc-js';

/** A gRPC status by its name: NOT_FOUND, UNAVAILABLE, ... (https://grpc.io/docs/guides/status-codes). */
export type StatusName = Exclude<keyof typeof status, 'OK'>;

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
  const name: string | undefined = status[code];
  return name === undefined || name === 'OK' ? 'UNKNOWN' : (name as StatusName);
}

/** Whether the other side could not be asked, or did not answer in time: nothing is known of what it did. */
export function isUnanswered(error: unknown): boolean {
  return error instanceof RpcError && (error.code === 'UNAVAILABLE' || error.code === 'DEADLINE_EXCEEDED');
}

/** An error's text without its stack, whatever was thrown. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
