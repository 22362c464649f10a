/** How the command ends: its exit codes, and the errors that lead to them. */

export const EXIT = {
  /** Everything was done, and every audit was clean. */
  ok: 0,
  /** Something failed. */
  failed: 1,
  /** The command line or the spec is wrong; nothing was started. */
  usage: 2,
  /** 128 + SIGINT, as shells have it. */
  interrupted: 130,
} as const;

/** Thrown when what the user asks for cannot be understood. The message is shown as it is. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
