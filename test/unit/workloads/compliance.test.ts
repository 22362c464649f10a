/**
 * What every workload must keep to, whatever it does. A new kind is covered as soon as it has a sample spec.
 */

import { pack, unpack } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import { RESPONSE_BODY_BYTES_MAX, RequestOperation } from '../../../proto/guest-request.ts';
import { ANSWERING_WORKLOADS, WORKLOADS, type WorkloadKind } from '../../../proto/names.ts';
import {
  createSchedule,
  createWorkload,
  WORKLOAD_FIELDS,
  workloadProblems,
} from '../../../workloads/registry.ts';
import {
  contextOf,
  PAGE_COUNT,
  RecordingMemory,
  record,
  SAMPLE_SPECS,
  WORKING_SET_PAGES,
} from './support.ts';

const OPERATIONS = 3000;
const SEEDLESS: readonly WorkloadKind[] = ['idle', 'sequential', 'trace'];

describe.each(WORKLOADS)('%s', (kind) => {
  const spec = SAMPLE_SPECS[kind];

  it('has a sample spec without problems that uses all its fields', () => {
    expect(workloadProblems(spec, PAGE_COUNT)).toEqual([]);
    for (const field of WORKLOAD_FIELDS[kind]) expect(spec[field], field).not.toEqual(0n);
  });

  it('does the same operations for the same seed', () => {
    const context = contextOf(spec, { vcpu: 1, vcpuCount: 3 });
    const first = record(createWorkload(context), OPERATIONS);
    expect(record(createWorkload(context), OPERATIONS)).toEqual(first);
  });

  it('goes on after a save, its way through MessagePack and a load as if nothing had happened', () => {
    const context = contextOf(spec, { vcpu: 1, vcpuCount: 2 });
    const whole = record(createWorkload(context), OPERATIONS);
    const source = createWorkload(context);
    const before = record(source, 1234);
    const destination = createWorkload(context);
    destination.load(unpack(pack(source.save())));
    const after = record(destination, OPERATIONS - 1234);
    expect([...before.written, ...after.written]).toEqual(whole.written);
    expect([...before.reads, ...after.reads]).toEqual(whole.reads);
  });

  it('saves a state that later operations do not change', () => {
    const workload = createWorkload(contextOf(spec));
    record(workload, 10);
    const saved = workload.save();
    const copy = structuredClone(saved);
    record(workload, 100);
    expect(saved).toEqual(copy);
  });

  it('refuses a state that it cannot have saved', () => {
    const workload = createWorkload(contextOf(spec));
    for (const state of [undefined, 'x', [1, 2, 3, 4, 5, 6], [-1], [0.5], [0, 0, 0, 0]]) {
      expect(() => workload.load(state), JSON.stringify(state)).toThrow(/^loading .*found .*/);
    }
  });

  it('says exactly how many pages it wrote', () => {
    const workload = createWorkload(contextOf(spec));
    const memory = new RecordingMemory();
    for (let index = 0; index < OPERATIONS; index++) {
      const before = memory.written.length;
      expect(workload.operate(memory)).toBe(memory.written.length - before);
    }
  });

  it('stays inside memory, and inside the working set if it has one', () => {
    const { written, reads } = record(createWorkload(contextOf(spec)), OPERATIONS);
    const isBound = spec.workingSetBytes > 0n && kind !== 'hot-cold';
    const limit = isBound ? WORKING_SET_PAGES : PAGE_COUNT;
    for (const page of [...written, ...reads]) {
      expect(Number.isInteger(page) && page >= 0 && page < limit, `page ${page}`).toBe(true);
    }
  });

  it('runs in the smallest memory with the most vCPUs', () => {
    for (let vcpu = 0; vcpu < 8; vcpu++) {
      const tiny = { ...spec, workingSetBytes: 4096n, phases: [], trace: Buffer.alloc(0) };
      const { written } = record(createWorkload(contextOf(tiny, { pageCount: 2, vcpu, vcpuCount: 8 })), 200);
      expect(written.filter((page) => !(page === 0 || page === 1))).toEqual([]);
    }
  });

  it('is due more and more, and over the vCPUs exactly as much as the guest as a whole', () => {
    const guest = createSchedule(contextOf(spec));
    const vcpus = [0, 1, 2].map((vcpu) => createSchedule(contextOf(spec, { vcpu, vcpuCount: 3 })));
    const last = [0, 0, 0];
    for (let guestTimeMs = 0; guestTimeMs < 700; guestTimeMs += 0.37) {
      const due = vcpus.map((schedule) => schedule.dueBy(guestTimeMs));
      for (const [vcpu, count] of due.entries()) expect(count).toBeGreaterThanOrEqual(last[vcpu] as number);
      last.splice(0, 3, ...due);
      expect(due.reduce((sum, count) => sum + count)).toBe(guest.dueBy(guestTimeMs));
    }
  });
});

it('a client is answered, or not, as the list of those that answer says', () => {
  const answering = WORKLOADS.filter(
    (kind) => createWorkload(contextOf(SAMPLE_SPECS[kind])).answer !== undefined,
  );
  expect(answering).toEqual(ANSWERING_WORKLOADS);
});

describe.each(ANSWERING_WORKLOADS)('a client of %s', (kind) => {
  const body = Buffer.alloc(RESPONSE_BODY_BYTES_MAX);
  const { GET, SET } = RequestOperation;

  it('has its writes counted, and is answered from inside the working set', () => {
    for (const pageCount of [PAGE_COUNT, 3, 2, 1]) {
      const spec = {
        ...SAMPLE_SPECS[kind],
        workingSetBytes: BigInt(Math.min(pageCount, WORKING_SET_PAGES)) * 4096n,
      };
      const workload = createWorkload(contextOf(spec, { pageCount }));
      const memory = new RecordingMemory();
      for (let number = 0n; number < 500n; number++) {
        const before = memory.written.length;
        const request = {
          operation: number % 3n === 0n ? SET : GET,
          key: Number((number * 8_599_999n) % 2n ** 32n),
          number,
        };
        const { bodyBytes, pageWrites } = workload.answer!(memory, request, body);
        expect(bodyBytes).toBe(spec.responseBytes);
        expect(pageWrites).toBe(memory.written.length - before);
      }
      const pages = [...memory.written, ...memory.reads];
      const limit = Math.min(pageCount, WORKING_SET_PAGES);
      expect(pages.filter((page) => !(Number.isInteger(page) && page >= 0 && page < limit))).toEqual([]);
    }
  });

  it('goes on after a move as if it had stayed', () => {
    const written = (moves: boolean): number[] => {
      let workload = createWorkload(contextOf(SAMPLE_SPECS[kind]));
      const memory = new RecordingMemory();
      for (let key = 0; key < 1000; key++) {
        workload.answer!(memory, { operation: SET, key, number: 0n }, body);
        workload.operate(memory);
        if (!moves || key % 100 !== 0) continue;
        const next = createWorkload(contextOf(SAMPLE_SPECS[kind]));
        next.load(unpack(pack(workload.save())));
        workload = next;
      }
      return memory.written;
    };
    expect(written(true)).toEqual(written(false));
  });
});

it.each(WORKLOADS.filter((kind) => !SEEDLESS.includes(kind)))(
  '%s does other operations for another seed, and on another vCPU',
  (kind) => {
    const context = contextOf(SAMPLE_SPECS[kind], { vcpuCount: 2 });
    const first = record(createWorkload(context), OPERATIONS);
    const otherSeed = record(createWorkload({ ...context, seed: 2n }), OPERATIONS);
    const otherVcpu = record(createWorkload({ ...context, vcpu: 1 }), OPERATIONS);
    expect(otherSeed.written).not.toEqual(first.written);
    expect(otherVcpu.written).not.toEqual(first.written);
  },
);

it('names the kinds that there are when it does not know one', () => {
  const context = contextOf({ ...SAMPLE_SPECS.idle, kind: 'busy' });
  expect(() => createWorkload(context)).toThrow('found the kind "busy"; allowed is idle, uniform');
  expect(() => createSchedule(context)).toThrow('found the kind "busy"; allowed is idle, uniform');
});
