/**
 * The processes that a benchmark starts, and their end: each ends when its work is done, and all of them when
 * the benchmark itself ends, fails or is interrupted. Where there is setpriv, also when it is killed.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Duplex, Readable } from 'node:stream';
import { DEADLINES_MS } from '../proto/deadlines.ts';

const ERROR_LENGTH_MAX = 16 * 1024;
const EXIT_INTERRUPTED = 130;

const living = new Set<Child>();
process.on('exit', () => {
  for (const child of living) child.interrupt();
});

/** From now on an interrupt ends this process, and with it everything that it has started. */
export function endOnInterrupt(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(EXIT_INTERRUPTED));
  }
}

/** Whether a program is installed. */
export function isInstalled(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Has the kernel end a child whose owner is gone (prctl(2), PR_SET_PDEATHSIG). */
const OWNED = isInstalled('setpriv') ? (['setpriv', '--pdeathsig', 'KILL'] as const) : [];

/** How a child ended. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class Child {
  readonly ended: Promise<Ending>;
  readonly #process: ChildProcess;
  readonly #name: string;
  #error = '';

  /** @param pipeCount how many pipes it has, the first three being its stdin, stdout and stderr */
  constructor(command: readonly string[], pipeCount = 3) {
    this.#name = command[0] ?? '';
    const [file = '', ...args] = [...OWNED, ...command];
    this.#process = spawn(file, args, { stdio: Array.from({ length: pipeCount }, () => 'pipe' as const) });
    living.add(this);
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#error = (this.#error + text).slice(-ERROR_LENGTH_MAX);
    });
    // What has ended reads no more; that it has ended is told by `ended`.
    this.#process.stdin?.on('error', () => {});
    const ended = new Promise<Ending>((resolve, reject) => {
      this.#process.once('close', (code, signal) => resolve({ code, signal }));
      this.#process.once('error', reject);
    });
    this.ended = ended.finally(() => living.delete(this));
    // Whoever waits for it hears of it; until then it is no unhandled rejection.
    this.ended.catch(() => {});
  }

  /** Its process, undefined when it could not be started. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  get stdout(): Readable {
    return this.#process.stdout as Readable;
  }

  /** A pipe beyond the first three, for both directions. */
  pipe(index: number): Duplex {
    return this.#process.stdio[index] as Duplex;
  }

  /** What it last wrote to stderr. */
  get errorText(): string {
    return this.#error.trim();
  }

  /** Asks it to end. */
  interrupt(): void {
    this.#process.kill('SIGTERM');
  }

  /** Ends it, at once when it does not end when asked; resolves when it is gone. */
  async stop(): Promise<void> {
    this.interrupt();
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), DEADLINES_MS.processStop);
    await this.ended.catch(() => {});
    clearTimeout(timer);
  }

  /**
   * Resolves with the first line of its stdout that holds a text.
   * @throws Error when it ends before, or says nothing for `deadlineMs`
   */
  line(text: string, deadlineMs: number): Promise<string> {
    return withDeadline(deadlineMs, `"${text}" of ${this.#name}`, (resolve, reject) => {
      let read = '';
      this.stdout.setEncoding('utf8').on('data', (chunk: string) => {
        read = (read + chunk).slice(-ERROR_LENGTH_MAX);
        const line = read
          .split('\n')
          .slice(0, -1)
          .find((each) => each.includes(text));
        if (line !== undefined) resolve(line);
      });
      this.ended.then(() => reject(new Error(`${this.#name} has ended: ${this.errorText}`)), reject);
    });
  }

  /**
   * Everything that it writes to stdout until it ends.
   * @throws Error when it cannot be started, or takes longer than `deadlineMs`
   */
  output(deadlineMs: number): Promise<{ readonly text: string; readonly ending: Ending }> {
    return withDeadline(deadlineMs, `the end of ${this.#name}`, (resolve, reject) => {
      const chunks: string[] = [];
      this.stdout.setEncoding('utf8').on('data', (chunk: string) => chunks.push(chunk));
      this.ended.then((ending) => resolve({ text: chunks.join(''), ending }), reject);
    });
  }
}

/** A promise that is rejected when it takes too long, with what was waited for. */
export async function withDeadline<Answer>(
  deadlineMs: number,
  what: string,
  begin: (resolve: (answer: Answer) => void, reject: (error: Error) => void) => void,
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const timer = setTimeout(
    () => reject(new Error(`waited ${deadlineMs / 1000} s for ${what}; GODWIT_PATIENCE=4 waits longer`)),
    deadlineMs,
  );
  begin(resolve, reject);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}
