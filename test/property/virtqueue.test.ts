/**
 * The queue between a guest and its NIC as a plain first-in-first-out list: step by step against a model, and with its
 * two sides on two threads.
 */

import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { PageTable } from '../../hosts/guest/page-table.ts';
import { allocateGuest, pageCountOf, type SharedGuest } from '../../hosts/guest/shared-guest.ts';
import { Packet, QUEUE, type Queue, Virtqueue } from '../../hosts/guest/virtqueue.ts';
import { GuestNetwork } from '../../proto/generated/godwit/v1/guest.ts';
import { FLOW_BYTES, QUEUE_SLOTS, workloadPageCount } from '../../proto/guest-network.ts';
import { MESSAGE_BYTES_MAX } from '../../proto/guest-request.ts';
import { PAGE_BYTES, PAGE_WORDS } from '../../proto/page.ts';
import { guestSpec } from '../unit/guest/specs.ts';

const spec = { ...guestSpec({ kind: 'kv' }, { mebibytes: 2 }), network: GuestNetwork.fromPartial({}) };

/** Both queues as if so many messages had passed through each. */
function guestAfter(messageCount: number): SharedGuest {
  const shared = allocateGuest(spec);
  const words = new Int32Array(shared.memory);
  const end = pageCountOf(spec) * PAGE_WORDS;
  for (const page of [1, 2]) for (const word of [0, 16]) words[end - page * PAGE_WORDS + word] = messageCount;
  return shared;
}

interface Message {
  readonly flow: Uint8Array;
  readonly message: Uint8Array;
}

const message: fc.Arbitrary<Message> = fc.record({
  flow: fc.uint8Array({ minLength: FLOW_BYTES, maxLength: FLOW_BYTES }),
  message: fc.uint8Array({ maxLength: MESSAGE_BYTES_MAX }),
});
/** Runs of putting and taking, so that the queue is full and empty now and then. */
const steps = fc.array(
  fc.oneof(
    fc.record({ put: message, times: fc.integer({ min: 1, max: 300 }) }),
    fc.record({ take: fc.integer({ min: 1, max: 300 }) }),
  ),
  { maxLength: 20 },
);
/** Also where the indices wrap, as signed and as unsigned words. */
const past = fc.constantFrom(0, 250, 2 ** 31 - 100, -100);

describe.each([
  ['requests', QUEUE.REQUESTS],
  ['responses', QUEUE.RESPONSES],
] as const)('the queue of %s', (_, which) => {
  test('gives back what was put in, in order, and has room for 256', () => {
    fc.assert(
      fc.property(past, steps, (messageCount, list) => {
        const queue = new Virtqueue(guestAfter(messageCount), which);
        const model: Message[] = [];
        const packet = new Packet();
        for (const step of list) {
          if ('put' in step) {
            for (let time = 0; time < step.times; time++) {
              const isPut = queue.put(step.put.flow, step.put.message);
              expect(isPut).toBe(model.length < QUEUE_SLOTS);
              if (isPut) model.push(step.put);
            }
          } else {
            for (let time = 0; time < step.take; time++) {
              const due = model.shift();
              expect(queue.take(packet)).toBe(due !== undefined);
              if (due === undefined) continue;
              expect(packet.message.equals(due.message) && Buffer.compare(packet.flow, due.flow) === 0).toBe(
                true,
              );
            }
          }
          expect(queue.waiting()).toBe(model.length);
          expect(queue.problem()).toBeUndefined();
        }
      }),
      { numRuns: 50 },
    );
  });

  test('touches no page of the workload, and marks every page that it changes', () => {
    const shared = guestAfter(0);
    const pageTable = new PageTable(shared.pageTable, pageCountOf(spec));
    const dirty = new Uint32Array(pageCountOf(spec));
    const memory = new Uint8Array(shared.memory);
    const replica = memory.slice();
    const queue = new Virtqueue(shared, which);
    const packet = new Packet();
    for (let step = 0; step < 700; step++) {
      if (step % 3 === 2) queue.take(packet);
      else queue.put(Buffer.alloc(FLOW_BYTES, step), Buffer.alloc(step, step));
      const count = pageTable.collectDirty(dirty);
      for (const page of dirty.subarray(0, count)) {
        expect(page).toBeGreaterThanOrEqual(workloadPageCount(spec));
        const start = page * PAGE_BYTES;
        replica.set(memory.subarray(start, start + PAGE_BYTES), start);
      }
    }
    expect(Buffer.compare(memory, replica)).toBe(0);
  });

  test('refuses a message that is too long, and believes no length and no index in guest memory', () => {
    const shared = guestAfter(0);
    const queue = new Virtqueue(shared, which);
    const flow = Buffer.alloc(FLOW_BYTES);
    expect(() => queue.put(flow, Buffer.alloc(MESSAGE_BYTES_MAX + 1))).toThrow('1473 bytes');
    expect(() => queue.put(Buffer.alloc(3), Buffer.alloc(1))).toThrow('a flow of 3');
    queue.put(flow, Buffer.alloc(10));
    const bytes = new Uint8Array(shared.memory);
    const slots = (workloadPageCount(spec) + (which === QUEUE.REQUESTS ? 0 : 128)) * PAGE_BYTES;
    bytes.fill(0xff, slots, slots + 4);
    expect(queue.problem()?.detail).toContain('slot 0 says 4294967295 bytes');
    const packet = new Packet();
    expect(queue.take(packet)).toBe(true);
    expect(packet.message).toHaveLength(MESSAGE_BYTES_MAX);
    bytes.fill(0x7f, bytes.length - 2 * PAGE_BYTES);
    new Int32Array(shared.memory)[(bytes.length - 2 * PAGE_BYTES) / 4] = -1;
    new Int32Array(shared.memory)[(bytes.length - PAGE_BYTES) / 4] = -1;
    expect(queue.waiting()).toBeUndefined();
    expect(queue.put(flow, Buffer.alloc(1))).toBe(false);
    expect(queue.take(packet)).toBe(false);
  });
});

describe('a queue between two threads', () => {
  const COUNT = 30_000;
  const workers: Worker[] = [];
  afterEach(async () => {
    await Promise.all(workers.splice(0).map((worker) => worker.terminate()));
  });

  test('loses, tears and doubles nothing', async () => {
    const shared = guestAfter(2 ** 31 - 1000);
    const workerData: { shared: SharedGuest; queue: Queue; count: number } = {
      shared,
      queue: QUEUE.REQUESTS,
      count: COUNT,
    };
    const producer = new Worker(new URL('../support/queue-producer.ts', import.meta.url), { workerData });
    workers.push(producer);
    const failures: unknown[] = [];
    producer.once('error', (error) => failures.push(error));
    const queue = new Virtqueue(shared, QUEUE.REQUESTS);
    const packet = new Packet();
    for (let index = 0; index < COUNT; ) {
      if (!queue.take(packet)) {
        await new Promise((resolve) => setImmediate(resolve));
        expect(failures).toEqual([]);
        continue;
      }
      const { message: found, flow } = packet;
      const isRight =
        found.length === index % (MESSAGE_BYTES_MAX + 1) && found.every((byte) => byte === index % 251);
      if (!isRight || Buffer.from(flow).readUInt32LE() !== index) {
        expect.unreachable(`message ${index} has ${found.length} bytes of ${found[0]}`);
      }
      index++;
    }
    expect(queue.waiting()).toBe(0);
  });
});
