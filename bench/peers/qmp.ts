/**
 * Talks to a QEMU through its monitor protocol, QMP: a line of JSON for each command, answer and event
 * (qemu's docs/interop/qmp-spec). One command at a time.
 */

import type { Duplex } from 'node:stream';
import { z } from 'zod';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { withDeadline } from '../children.ts';

const greeting = z.object({ QMP: z.object({}) });
const event = z.object({ event: z.string(), data: z.record(z.string(), z.unknown()).default({}) });
const failure = z.object({ error: z.object({ desc: z.string() }) });
const success = z.object({ return: z.unknown() });

/** What QEMU may say. */
export type QmpMessage =
  | { readonly kind: 'greeting' }
  | { readonly kind: 'event'; readonly name: string; readonly data: Readonly<Record<string, unknown>> }
  | { readonly kind: 'failure'; readonly reason: string }
  | { readonly kind: 'answer'; readonly value: unknown };

/** Reads one line of QMP. @throws Error when it is none */
export function qmpMessage(line: string): QmpMessage {
  const json: unknown = JSON.parse(line);
  const found = z.union([greeting, event, failure, success]).safeParse(json);
  if (!found.success) throw new Error(`QEMU said what is no QMP: ${line.slice(0, 200)}`);
  const { data } = found;
  if ('QMP' in data) return { kind: 'greeting' };
  if ('event' in data) return { kind: 'event', name: data.event, data: data.data };
  if ('error' in data) return { kind: 'failure', reason: data.error.desc };
  return { kind: 'answer', value: data.return };
}

type Event = QmpMessage & { readonly kind: 'event' };

/** Told of each message, or of the end of the connection. */
type Listener = (message: QmpMessage | Error) => void;

export class Qmp {
  readonly #stream: Duplex;
  readonly #listeners = new Set<Listener>();
  readonly #events: Event[] = [];
  #lost: Error | undefined;
  #rest = '';

  private constructor(stream: Duplex) {
    this.#stream = stream;
    stream.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    stream.on('error', (error) => this.#lose(error));
    stream.on('close', () => this.#lose(new Error('QEMU has closed its monitor')));
  }

  /** Greets QEMU and waits until it takes commands. @throws Error when it does not */
  static async open(stream: Duplex): Promise<Qmp> {
    const qmp = new Qmp(stream);
    await qmp.#next('QEMU greeting', ({ kind }) => kind === 'greeting');
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  /** Has QEMU do something. @throws Error with the command and QEMU's own words when it refuses */
  async execute(command: string, settings: object = {}): Promise<unknown> {
    const answered = this.#next(`QEMU answering ${command}`, ({ kind }) => kind !== 'event');
    this.#stream.write(`${JSON.stringify({ execute: command, arguments: settings })}\n`);
    const message = await answered;
    if (message.kind === 'failure') throw new Error(`QEMU refuses ${command}: ${message.reason}`);
    return message.kind === 'answer' ? message.value : undefined;
  }

  /**
   * The first event that `accepts` takes, also one that has come already.
   * @throws Error when the connection is lost, or no such event comes in time
   */
  async event(what: string, accepts: (event: Event) => boolean, deadlineMs: number): Promise<Event> {
    const past = this.#events.find(accepts);
    if (past !== undefined) return past;
    const accepted = (message: QmpMessage): boolean => message.kind === 'event' && accepts(message);
    return (await this.#next(what, accepted, deadlineMs)) as Event;
  }

  async #next(
    what: string,
    accepts: (message: QmpMessage) => boolean,
    deadlineMs: number = DEADLINES_MS.guestWork,
  ): Promise<QmpMessage> {
    let listener: Listener | undefined;
    try {
      return await withDeadline<QmpMessage>(deadlineMs, what, (resolve, reject) => {
        listener = (message) => {
          if (message instanceof Error) reject(message);
          else if (accepts(message)) resolve(message);
        };
        if (this.#lost === undefined) this.#listeners.add(listener);
        else reject(this.#lost);
      });
    } finally {
      if (listener !== undefined) this.#listeners.delete(listener);
    }
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      try {
        const message = qmpMessage(line);
        if (message.kind === 'event') this.#events.push(message);
        this.#tell(message);
      } catch (error) {
        this.#lose(error instanceof Error ? error : new Error(String(error)));
      }
    }
  }

  #lose(error: Error): void {
    this.#lost ??= error;
    this.#tell(this.#lost);
  }

  #tell(message: QmpMessage | Error): void {
    for (const listener of [...this.#listeners]) listener(message);
  }
}
