/**
 * What happened, for WatchEvents: the last ones are kept, so that a watcher sees what led to where things
 * stand.
 */

import { RpcError } from '../proto/errors.ts';
import type { Event } from '../proto/generated/godwit/v1/coordinator.ts';
import { BoundedQueue } from './bounded-queue.ts';
import { COORDINATOR_LIMITS } from './limits.ts';

export type EventKind =
  | 'host-registered'
  | 'host-lost'
  | 'host-draining'
  | 'host-undrained'
  | 'guest-created'
  | 'guest-destroyed'
  | 'guest-failed'
  | 'guest-lost'
  | 'guest-found'
  | 'guest-adopted'
  | 'guest-discarded'
  | 'migration-started'
  | 'migration-predicted'
  | 'migration-phase'
  | 'migration-switched'
  | 'migration-ended'
  | 'handover-begun'
  | 'handover-settled'
  | 'network-shaped'
  | 'network-fault';

export class EventLog {
  readonly #recent: Event[] = [];
  readonly #watchers = new Set<BoundedQueue<Event>>();

  emit(kind: EventKind, subject: string, detail: string): void {
    const event = { atMs: Date.now(), kind, subject, detail };
    this.#recent.push(event);
    if (this.#recent.length > COORDINATOR_LIMITS.eventsMax) this.#recent.shift();
    for (const watcher of this.#watchers) watcher.push(event);
  }

  /** The kept events, then the new ones as they come, until `signal` aborts or the log closes. */
  async *watch(signal: AbortSignal): AsyncGenerator<Event, void, undefined> {
    if (this.#watchers.size >= COORDINATOR_LIMITS.watchersMax) {
      const message = `${this.#watchers.size} watch events already; end one of them first`;
      throw new RpcError('RESOURCE_EXHAUSTED', message);
    }
    const queue = new BoundedQueue<Event>(COORDINATOR_LIMITS.eventsMax, 'end');
    for (const event of this.#recent) queue.push(event);
    this.#watchers.add(queue);
    const close = (): void => queue.close();
    signal.addEventListener('abort', close);
    try {
      yield* queue;
    } finally {
      signal.removeEventListener('abort', close);
      this.#watchers.delete(queue);
    }
  }

  close(): void {
    for (const watcher of this.#watchers) watcher.close();
  }
}
