/**
 * A headless Chromium of the machine's, for tests of what people look at. It is spoken to over a pipe in the DevTools
 * protocol (https://chromedevtools.github.io/devtools-protocol/): no port, no driver to install.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

const PROGRAMS = ['chromium', 'chromium-browser', 'google-chrome'];
const ANSWER_DEADLINE_MS = 240_000;

/** The program, or undefined when this machine has none. */
export function chromiumProgram(): string | undefined {
  return PROGRAMS.find((program) => spawnSync(program, ['--version']).status === 0);
}

interface Message {
  readonly id?: number;
  readonly sessionId?: string;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

type Waiter = {
  readonly resolve: (result: Record<string, unknown>) => void;
  readonly reject: (error: Error) => void;
};

export class Chromium {
  readonly #process: ChildProcess;
  readonly #profile: string;
  readonly #exited: Promise<void>;
  readonly #waiters = new Map<number, Waiter>();
  readonly #events: Message[] = [];
  readonly #listeners = new Set<() => void>();
  #nextId = 1;

  constructor(program: string) {
    this.#profile = mkdtempSync(join(tmpdir(), 'godwit-chromium-'));
    const flags = [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--hide-scrollbars',
    ];
    const quiet = ['--no-first-run', '--disable-background-networking', '--disable-component-update'];
    this.#process = spawn(
      program,
      [...flags, ...quiet, '--remote-debugging-pipe', `--user-data-dir=${this.#profile}`],
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
    );
    this.#exited = new Promise((resolve) => {
      this.#process.on('exit', () => resolve());
    });
    void this.#exited.then(() => {
      for (const { reject } of this.#waiters.values()) reject(new Error(`${program} has ended`));
    });
    let rest = '';
    (this.#process.stdio[4] as Readable).setEncoding('utf8').on('data', (chunk: string) => {
      const texts = (rest + chunk).split('\0');
      rest = texts.pop() ?? '';
      for (const text of texts) this.#receive(JSON.parse(text) as Message);
    });
  }

  /** Does something in the browser, or in a page of it; the answer's `result`. */
  async send(method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> {
    const id = this.#nextId++;
    const answered = new Promise<Record<string, unknown>>((resolve, reject) => {
      this.#waiters.set(id, { resolve, reject });
    });
    const message = { id, method, params, ...(sessionId !== undefined && { sessionId }) };
    (this.#process.stdio[3] as Writable).write(`${JSON.stringify(message)}\0`);
    return await withDeadline(answered, `${method} was not answered`);
  }

  /** A new page, of which everything that it asks for and complains of is noted. */
  async newPage(): Promise<Page> {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, String(sessionId));
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await page.send(`${domain}.enable`);
    return page;
  }

  /** What happened in a page, by the event's name, in its order. */
  events(sessionId: string, method: string): Record<string, unknown>[] {
    return this.#events
      .filter((event) => event.sessionId === sessionId && event.method === method)
      .map(({ params = {} }) => params);
  }

  /** Waits until a page has had so many events of a name. */
  async waitFor(sessionId: string, method: string, count: number): Promise<void> {
    const happened = new Promise<void>((resolve) => {
      const look = (): void => {
        if (this.events(sessionId, method).length < count) return;
        this.#listeners.delete(look);
        resolve();
      };
      this.#listeners.add(look);
      look();
    });
    await withDeadline(happened, `${method} did not happen`);
  }

  async close(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#exited;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }

  #receive(message: Message): void {
    if (message.id === undefined) {
      this.#events.push(message);
      for (const look of [...this.#listeners]) look();
      return;
    }
    const waiter = this.#waiters.get(message.id);
    this.#waiters.delete(message.id);
    if (message.error === undefined) waiter?.resolve(message.result ?? {});
    else waiter?.reject(new Error(message.error.message));
  }
}

export class Page {
  readonly #browser: Chromium;
  readonly #sessionId: string;

  constructor(browser: Chromium, sessionId: string) {
    this.#browser = browser;
    this.#sessionId = sessionId;
  }

  send(method: string, params: object = {}): Promise<Record<string, unknown>> {
    return this.#browser.send(method, params, this.#sessionId);
  }

  events(method: string): Record<string, unknown>[] {
    return this.#browser.events(this.#sessionId, method);
  }

  /** Opens an address and waits until all of it is there. */
  async open(url: string): Promise<void> {
    const loads = this.events('Page.loadEventFired').length;
    await this.send('Page.navigate', { url });
    await this.#browser.waitFor(this.#sessionId, 'Page.loadEventFired', loads + 1);
  }

  /** The value of an expression in the page. */
  async evaluate(expression: string): Promise<unknown> {
    const answer = await this.send('Runtime.evaluate', { expression, returnByValue: true });
    if (answer.exceptionDetails !== undefined) throw new Error(JSON.stringify(answer.exceptionDetails));
    return (answer.result as { value?: unknown }).value;
  }

  async colorScheme(value: 'light' | 'dark'): Promise<void> {
    await this.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value }] });
  }

  async width(width: number): Promise<void> {
    await this.send('Emulation.setDeviceMetricsOverride', {
      width,
      height: 900,
      deviceScaleFactor: 1,
      mobile: false,
    });
  }
}

async function withDeadline<Value>(promise: Promise<Value>, what: string): Promise<Value> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`${what} within ${ANSWER_DEADLINE_MS} ms`)),
    ANSWER_DEADLINE_MS,
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
