/**
 * Real processes for tests: started with a mark in their environment, so that every process that comes from
 * them is found again, orphans of a killed parent included, and ended when the test file is over. Reads /proc
 * (Linux).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** The top of the repository: what processes run in. */
export const repositoryRoot = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

const mark = `GODWIT_TEST_MARK=${randomUUID()}`;
const waitDeadlineMs = 240_000;
const pollMs = 25;

/** A process of the system: its start time tells it from a later one with the same pid. */
export interface SystemProcess {
  readonly pid: number;
  readonly parent: number;
  readonly startTicks: string;
  readonly command: string;
}

export interface ExitStatus {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** 'pipe' (default) holds the child's stdin open until `endInput` or the end of this process. */
  readonly stdin?: 'pipe' | 'ignore';
}

/** A child process of a test, with everything that it printed. */
export class StartedProcess {
  readonly pid: number;
  readonly exited: Promise<ExitStatus>;
  readonly #child: ChildProcess;
  readonly #name: string;
  #stdout = '';
  #stderr = '';
  #status: ExitStatus | undefined;

  constructor(command: string, args: readonly string[], options: StartOptions = {}) {
    const [markName = '', markValue = ''] = mark.split('=');
    this.#name = [command, ...args].join(' ');
    this.#child = spawn(command, args, {
      cwd: options.cwd ?? repositoryRoot,
      env: { ...process.env, GODWIT_PATIENCE: '6', NO_COLOR: '1', ...options.env, [markName]: markValue },
      stdio: [options.stdin ?? 'pipe', 'pipe', 'pipe'],
    });
    const { pid } = this.#child;
    if (pid === undefined) throw new Error(`could not start ${this.#name}`);
    this.pid = pid;
    this.#child.stdin?.on('error', () => {});
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.exited = new Promise((resolve) => {
      // 'close' comes after the last output; 'exit' would lose it.
      this.#child.once('close', (code, signal) => {
        this.#status = { code, signal };
        resolve(this.#status);
      });
    });
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** How it ended, or undefined while it runs (or its output is still open). */
  get status(): ExitStatus | undefined {
    return this.#status;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Writes a line to its stdin. */
  say(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  endInput(): void {
    this.#child.stdin?.end();
  }

  /** Waits for its end; throws with its output when that does not come. */
  async end(): Promise<ExitStatus> {
    await waitFor(
      () => this.#status !== undefined,
      () => `the end of ${this.describe()}`,
    );
    return this.#status as ExitStatus;
  }

  /** Waits until its stdout and stderr together match; throws at once when it ends before. */
  async prints(pattern: RegExp): Promise<RegExpExecArray> {
    const find = (): RegExpExecArray | null => pattern.exec(`${this.#stdout}\n${this.#stderr}`);
    await waitFor(
      () => find() !== null || this.#status !== undefined,
      () => `${pattern} in the output of ${this.describe()}`,
    );
    const match = find();
    if (match === null) throw new Error(`no ${pattern} before the end of ${this.describe()}`);
    return match;
  }

  /** Its command, how it ended and what it printed, for a failure's message. */
  describe(): string {
    const status = this.#status === undefined ? 'running' : JSON.stringify(this.#status);
    return `${this.#name} (${status})\nstdout:\n${this.#stdout}\nstderr:\n${this.#stderr}`;
  }
}

/** Starts a script of the repository with the Node that runs the tests. */
export function startNode(args: readonly string[], options?: StartOptions): StartedProcess {
  return new StartedProcess(process.execPath, args, options);
}

/** Starts the `godwit` command. */
export function startGodwit(args: readonly string[], options?: StartOptions): StartedProcess {
  return startNode([join(repositoryRoot, 'cli', 'godwit.mjs'), ...args], options);
}

/** Runs the `godwit` command to its end. */
export async function godwit(args: readonly string[], options?: StartOptions): Promise<StartedProcess> {
  const child = startGodwit(args, options);
  await child.end();
  return child;
}

/** Waits until the condition holds; throws with `what` after minutes without it. Never a measure of speed. */
export async function waitFor(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
): Promise<void> {
  const endAtMs = performance.now() + waitDeadlineMs;
  while (!(await condition())) {
    if (performance.now() > endAtMs) {
      throw new Error(
        `waited ${waitDeadlineMs / 1000} s in vain for ${typeof what === 'string' ? what : what()}`,
      );
    }
    await delay(pollMs);
  }
}

function readProcess(pid: number): SystemProcess | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold anything; the fields after it count from `state`.
    const [state, parent, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (state === 'Z' || state === 'X') return undefined;
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    return { pid, parent: Number(parent), startTicks: rest[17] ?? '', command };
  } catch {
    return undefined;
  }
}

function allProcesses(): SystemProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readProcess(Number(name)) ?? []);
}

/** The processes below one, children before grandchildren. */
export function descendants(pid: number): SystemProcess[] {
  const all = allProcesses();
  const below = (parent: number): SystemProcess[] => all.filter((each) => each.parent === parent);
  const found = below(pid);
  for (const each of found) found.push(...below(each.pid));
  return found;
}

/** Whether it still runs: a zombie does not, nor does another process that got its pid. */
export function isRunning(process: SystemProcess): boolean {
  return readProcess(process.pid)?.startTicks === process.startTicks;
}

/** Every running process that this test file started or that came from one, whoever its parent is now. */
export function processesOfThisTest(): SystemProcess[] {
  return allProcesses().filter(({ pid }) => {
    try {
      return readFileSync(`/proc/${pid}/environ`).includes(mark);
    } catch {
      return false;
    }
  });
}

/** Waits until no process of this test file runs. */
export async function waitForNoProcess(): Promise<void> {
  await waitFor(
    () => processesOfThisTest().length === 0,
    () => `the end of ${JSON.stringify(processesOfThisTest(), undefined, 1)}`,
  );
}

/** For afterAll (or afterEach): kills whatever is left, and waits until it is gone. */
export async function endAllProcesses(): Promise<void> {
  await waitFor(
    () => {
      const left = processesOfThisTest();
      for (const { pid } of left) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It ended between the look and the kill.
        }
      }
      return left.length === 0;
    },
    () => `the end of ${JSON.stringify(processesOfThisTest(), undefined, 1)}`,
  );
}
