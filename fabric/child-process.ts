/**
 * A process that this one owns. The owner's end of the child's stdin stays open as long as the owner lives,
 * and the child ends when it closes, so that even a killed owner leaves nothing behind. The child says on
 * stdout, in one line of JSON, when it is ready and where it answers; what more it says there is an answer to a line
 * that its owner wrote to its stdin.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { DEADLINES_MS } from '../proto/deadlines.ts';

/**
 * Where Node keeps what it compiled, for every process and thread started later: a thread then starts in half
 * the time and half the memory (docs/performance.md). Not in a folder that others may write to.
 */
const COMPILE_CACHE = fileURLToPath(new URL('../node_modules/.cache/godwit', import.meta.url));

const LIMITS = {
  readyLineLength: 64 * 1024,
  answerLength: 1024 * 1024,
  errorLength: 16 * 1024,
  errorLines: 20,
} as const;

export interface ChildSettings {
  /** For messages: "the coordinator", "host-1". */
  readonly name: string;
  /** The absolute path of the script that it runs. */
  readonly script: string;
  readonly args: readonly string[];
  /** The command that brings it to the place where it runs, such as `ip netns exec NAME`; it must exec, not fork. */
  readonly prefix?: readonly string[] | undefined;
  /** Ends the start. */
  readonly signal?: AbortSignal | undefined;
}

/** What a child says when it is ready: where its service answers, and what only its own owner knows to read. */
export interface ReadyLine {
  readonly address: string;
  readonly [key: string]: unknown;
}

/** How a child ended, and whether its owner had asked for it. */
export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly expected: boolean;
}

/** A child that could not be started, or ended before it was ready. */
export class ChildProcessError extends Error {
  override readonly name = 'ChildProcessError';
}

export class OwnedProcess {
  readonly name: string;
  readonly pid: number;
  readonly exited: Promise<ChildExit>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #prefix: readonly string[];
  #ready: ReadyLine = { address: '' };
  /** Whoever waits for the child's next words. */
  #listener: ((text: string) => void) | undefined;
  #errorTail = '';
  #exit: ChildExit | undefined;
  #stopping = false;

  private constructor(settings: ChildSettings, child: ChildProcessWithoutNullStreams, pid: number) {
    this.name = settings.name;
    this.pid = pid;
    this.#child = child;
    this.#prefix = settings.prefix ?? [];
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errorTail = (this.#errorTail + text).slice(-LIMITS.errorLength);
    });
    // A child that has ended no longer reads; that it ended is told by `exited`.
    child.stdin.on('error', () => {});
    this.exited = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        this.#exit = { code, signal, expected: this.#stopping };
        resolve(this.#exit);
      });
    });
  }

  /**
   * Starts a child and waits until it is ready.
   * @throws ChildProcessError with what the child last wrote to stderr; the child has ended then.
   */
  static async start(settings: ChildSettings): Promise<OwnedProcess> {
    settings.signal?.throwIfAborted();
    // A process group of its own: Ctrl-C in a terminal reaches only the owner, which then ends its children.
    const { prefix = [], script, args } = settings;
    const [file, ...rest] = [...prefix, process.execPath, script, ...args, '--owned'];
    const env = { NODE_COMPILE_CACHE: COMPILE_CACHE, ...process.env };
    const child = spawn(file, rest, { detached: true, env });
    if (child.pid === undefined) throw await spawnError(settings, child);
    const owned = new OwnedProcess(settings, child, child.pid);
    try {
      owned.#ready = await owned.#readyLine(settings.signal);
    } catch (error) {
      owned.kill();
      await owned.exited;
      throw error;
    }
    return owned;
  }

  /** Where its service answers. */
  get address(): string {
    return this.#ready.address;
  }

  /** All that it said when it was ready. */
  get ready(): ReadyLine {
    return this.#ready;
  }

  get running(): boolean {
    return this.#exit === undefined;
  }

  /** The last lines that it wrote to stderr, to be put after a message; empty when it wrote none. */
  get errorLines(): string {
    const lines = this.#errorTail.trimEnd().split('\n').slice(-LIMITS.errorLines);
    return lines.join('\n') === '' ? '' : `\n${lines.map((line) => `  ${this.name}: ${line}`).join('\n')}`;
  }

  /** Ends it at once, without its help. */
  kill(): void {
    this.#stopping = true;
    this.#child.kill('SIGKILL');
  }

  /** Asks it to end, and ends it when it does not; resolves when it is gone. */
  async stop(): Promise<void> {
    if (!this.running) return;
    this.#stopping = true;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), DEADLINES_MS.processStop);
    await this.exited;
    clearTimeout(timer);
  }

  /**
   * Says something to it, and waits for the line that it answers; not while another answer is waited for.
   * @throws ChildProcessError when it ends first, says too much, or says nothing in time
   */
  async ask(line: string, deadlineMs: number): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const fail = (why: string): void =>
      reject(new ChildProcessError(`${this.name} ${why}${this.errorLines}`));
    const timer = setTimeout(() => fail(`did not answer within ${deadlineMs / 1000} s`), deadlineMs);
    let text = '';
    this.#listener = (chunk) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end >= 0) resolve(text.slice(0, end));
      else if (text.length > LIMITS.answerLength) fail('answered more than is allowed');
    };
    void this.exited.then(({ code, signal }) => fail(`ended (${signal ?? `exit code ${code}`})`));
    this.#child.stdin.write(`${line}\n`);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#listener = undefined;
    }
  }

  async #readyLine(signal: AbortSignal | undefined): Promise<ReadyLine> {
    const { promise, resolve, reject } = Promise.withResolvers<ReadyLine>();
    const fail = (why: string): void =>
      reject(new ChildProcessError(`${this.name} ${why}${this.errorLines}`));
    const abort = (): void => reject(signal?.reason as Error);
    const timer = setTimeout(
      () =>
        fail(`was not ready within ${DEADLINES_MS.processStart / 1000} s; GODWIT_PATIENCE=4 waits longer`),
      DEADLINES_MS.processStart,
    );
    let text = '';
    const read = (chunk: string): void => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end < 0 && text.length <= LIMITS.readyLineLength) return;
      const ready = parseReady(text.slice(0, end));
      if (ready === undefined) fail(`did not say where it answers, but "${text.slice(0, 200).trim()}"`);
      else resolve(ready);
    };
    this.#child.stdout.setEncoding('utf8').on('data', read);
    const under = this.#prefix.length === 0 ? '' : `, under \`${this.#prefix.join(' ')}\``;
    void this.exited.then(({ code, signal: by }) =>
      fail(`ended at its start (${by ?? `exit code ${code}`}${under})`),
    );
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      // What it prints from now on is read, and dropped unless it is an answer, so that it never waits for a reader.
      this.#child.stdout.off('data', read).on('data', (chunk: string) => this.#listener?.(chunk));
    }
  }
}

function parseReady(line: string): ReadyLine | undefined {
  try {
    const { ready } = JSON.parse(line) as { ready?: Partial<ReadyLine> };
    return typeof ready?.address === 'string' ? { ...ready, address: ready.address } : undefined;
  } catch {
    return undefined;
  }
}

async function spawnError(settings: ChildSettings, child: ChildProcessWithoutNullStreams): Promise<Error> {
  const error = await new Promise<Error>((resolve) => child.once('error', resolve));
  return new ChildProcessError(`${settings.name} could not be started: ${error.message}`, { cause: error });
}
