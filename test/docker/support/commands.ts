/**
 * Commands of the system, each with a deadline: when it passes, the command ends with everything that it
 * started.
 */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../../../proto/errors.ts';

export interface CommandOptions {
  readonly deadlineMs: number;
  readonly cwd?: string;
  /** The whole environment; by default this process's. */
  readonly env?: NodeJS.ProcessEnv;
}

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  /** stdout and stderr as they came, after the command and how it ended: for messages. */
  readonly text: string;
}

/** A command that could not be started, failed, or took too long; the message holds its output. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

const OUTPUT_LENGTH_MAX = 256 * 1024;
const POLL_MS = 1000;

/** Runs a command to its end, whatever its exit code. @throws CommandError when there is none. */
export async function run(
  command: string,
  args: readonly string[],
  { deadlineMs, cwd, env }: CommandOptions,
): Promise<CommandResult> {
  const title = [command, ...args].join(' ');
  // A process group of its own, which can be ended as a whole.
  const child = spawn(command, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let both = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    both = (both + text).slice(-OUTPUT_LENGTH_MAX);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    both = (both + text).slice(-OUTPUT_LENGTH_MAX);
  });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  }, deadlineMs);
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    if (isLate) throw new Error(`did not end within ${deadlineMs / 1000} s`);
    return { code, stdout, text: `${title} (exit code ${code})\n${both}` };
  } catch (error) {
    throw new CommandError(`${title}: ${errorText(error)}\n${both}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a command that has to succeed, and answers with its stdout. @throws CommandError when it does not. */
export async function mustRun(
  command: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<string> {
  const { code, stdout, text } = await run(command, args, options);
  if (code !== 0) throw new CommandError(text);
  return stdout;
}

/** Waits until the condition holds; throws with `what` when it does not before the deadline. */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  what: () => string | Promise<string>,
  deadlineMs: number,
): Promise<void> {
  const endAtMs = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > endAtMs) {
      throw new CommandError(`waited ${deadlineMs / 1000} s in vain for ${await what()}`);
    }
    await sleep(POLL_MS);
  }
}
