/**
 * The epoch handshake under load. Four vCPUs write at full speed while dirty pages are collected and copied
 * to a replica, as a migration does. With the handshake the replica ends up equal to memory; without it a
 * write is lost, which shows that the first test would notice. The same with a NIC that writes at full speed.
 */

import { Worker } from 'node:worker_threads';
import { afterEach, expect, test } from 'vitest';
import type { Guest } from '../../hosts/guest/guest.ts';
import { clearDirtyPages, collectDirtyPages, PageTable, runsOf } from '../../hosts/guest/page-table.ts';
import { pageCountOf } from '../../hosts/guest/shared-guest.ts';
import { GuestNetwork, RateUnit } from '../../proto/generated/godwit/v1/guest.ts';
import { QUEUE_PAGES, workloadPageCount } from '../../proto/guest-network.ts';
import { PAGE_BYTES } from '../../proto/page.ts';
import { Guests, guestSpec, until } from '../unit/guest/specs.ts';

/** Each round collects three times and pauses once, so that a lost write has no time to be written again. */
const ROUNDS = 200;
const SLEEPY_ROUNDS = 1000;
/** Without the handshake a loss comes in one of the first few rounds; this is far more than that. */
const ROUNDS_MAX = 100_000;

/** What the guest is connected to does not matter: the test plays its NIC. */
const ANY_NETWORK = { forwarder: '127.0.0.1:1' };

const guests = new Guests();
const writers: Worker[] = [];
afterEach(async () => {
  await guests.destroyAll();
  await Promise.all(writers.splice(0).map((writer) => writer.terminate()));
});

/**
 * A guest of four vCPUs at full speed, its page table, and a copy of its memory that is to be kept up to
 * date.
 */
class Subject {
  readonly guest: Guest;
  readonly pageTable: PageTable;
  readonly #memory: Uint8Array<SharedArrayBuffer>;
  readonly #replica: Uint8Array<ArrayBuffer>;
  readonly #pages: Uint32Array<ArrayBuffer>;

  constructor(guest: Guest) {
    const pageCount = pageCountOf(guest.spec);
    this.guest = guest;
    this.pageTable = new PageTable(guest.shared.pageTable, pageCount);
    this.#memory = new Uint8Array(guest.shared.memory);
    this.#replica = new Uint8Array(this.#memory.length);
    this.#pages = new Uint32Array(pageCount);
    clearDirtyPages(this.pageTable, guest.control);
    this.#copy(0, pageCount);
  }

  static async create(rate: number): Promise<Subject> {
    return new Subject(await guests.create(guestSpec({ rate }, { mebibytes: 4, vcpuCount: 4 })));
  }

  /** A guest at full speed, and a NIC that writes as fast as it can. */
  static async withNic(): Promise<Subject> {
    const workload = { kind: 'kv', rate: 0, rateUnit: RateUnit.RATE_UNIT_OPERATIONS_PER_S };
    const network = GuestNetwork.fromPartial(ANY_NETWORK);
    const spec = { ...guestSpec(workload, { mebibytes: 2, vcpuCount: 2 }), network };
    const guest = await guests.create(spec);
    const file = new URL('../support/nic-writer.ts', import.meta.url);
    writers.push(new Worker(file, { workerData: guest.shared }));
    return new Subject(guest);
  }

  /** Waits until the NIC writes. */
  async nicWrites(): Promise<void> {
    await until(() => this.#memory.subarray(this.nicPages.from, this.nicPages.to).some((byte) => byte !== 0));
  }

  /** The bytes that the NIC alone writes. */
  get nicPages(): { readonly from: number; readonly to: number } {
    const from = workloadPageCount(this.guest.spec) * PAGE_BYTES;
    return { from, to: from + 2 * QUEUE_PAGES * PAGE_BYTES };
  }

  /** One round of a migration. */
  collect(): void {
    this.#copyRuns(collectDirtyPages(this.pageTable, this.guest.control, this.#pages));
  }

  /** The same without the handshake. */
  collectWithoutHandshake(): void {
    this.#copyRuns(this.pageTable.collectDirty(this.#pages));
  }

  /** The last round of a migration, after which memory stands still. */
  park(): void {
    this.guest.control.requestPause();
    this.guest.control.waitParked();
    this.collect();
  }

  /** Whether the copy lacks a write in a part of memory. The guest is parked. */
  hasLoss({ from, to } = { from: 0, to: this.#memory.length }): boolean {
    return Buffer.compare(this.#memory.subarray(from, to), this.#replica.subarray(from, to)) !== 0;
  }

  #copyRuns(count: number): void {
    runsOf(this.#pages, count, (firstPage, pageCount) => this.#copy(firstPage, pageCount));
  }

  #copy(firstPage: number, pageCount: number): void {
    const start = firstPage * PAGE_BYTES;
    this.#replica.set(this.#memory.subarray(start, start + pageCount * PAGE_BYTES), start);
  }
}

/**
 * Moves the guest's memory over and over; answers the round in which the copy lacked a write, if there was
 * one.
 */
function roundOfLoss(
  subject: Subject,
  rounds: number,
  collect: () => void,
  part?: Subject['nicPages'],
): number | undefined {
  for (let round = 1; round <= rounds; round++) {
    subject.guest.control.resume();
    subject.guest.control.waitFirstRun();
    collect();
    collect();
    subject.park();
    if (subject.hasLoss(part)) return round;
  }
  return undefined;
}

test.each([
  { load: 'at full speed', rate: 0, rounds: ROUNDS },
  // Here vCPUs fall asleep and wake up between collections, which is the handshake's other half.
  { load: 'that sleep in between', rate: 400_000, rounds: SLEEPY_ROUNDS },
])('no write of vCPUs $load is lost in $rounds rounds with the handshake', async ({ rate, rounds }) => {
  const subject = await Subject.create(rate);
  expect(roundOfLoss(subject, rounds, () => subject.collect())).toBeUndefined();
  expect((await subject.guest.audit()).faults).toEqual([]);
});

test('a write is lost without the handshake', async () => {
  const subject = await Subject.create(0);
  const round = roundOfLoss(subject, ROUNDS_MAX, () => subject.collectWithoutHandshake());
  expect(round, `no write was lost in ${ROUNDS_MAX} rounds`).toBeDefined();
  // The guest itself lost nothing: only the copy did.
  expect((await subject.guest.audit()).faults).toEqual([]);
});

test(`no write of a NIC is lost in ${ROUNDS} rounds with the handshake`, async () => {
  const subject = await Subject.withNic();
  await subject.nicWrites();
  expect(roundOfLoss(subject, ROUNDS, () => subject.collect())).toBeUndefined();
  expect((await subject.guest.audit()).faults).toEqual([]);
});

test('a write of a NIC is lost without the handshake', async () => {
  const subject = await Subject.withNic();
  await subject.nicWrites();
  const collect = (): void => subject.collectWithoutHandshake();
  const round = roundOfLoss(subject, ROUNDS_MAX, collect, subject.nicPages);
  expect(round, `no write was lost in ${ROUNDS_MAX} rounds`).toBeDefined();
  expect((await subject.guest.audit()).faults).toEqual([]);
});
