/**
 * The proof must be able to fail: into the memory of a real guest each test plants one fault of the kind that
 * a bad migration would leave, and the audit must find it and name the page. Without a fault it must find
 * none.
 */

import { afterEach, describe, expect, test } from 'vitest';
import { bootContent } from '../../../hosts/guest/boot-content.ts';
import type { Guest } from '../../../hosts/guest/guest.ts';
import { currentLedger, digestOf } from '../../../hosts/guest/ledger.ts';
import { pageCountOf, readVcpuState, writeVcpuState } from '../../../hosts/guest/shared-guest.ts';
import { WORKLOADS } from '../../../proto/names.ts';
import { PAGE_WORDS } from '../../../proto/page.ts';
import {
  LANE_WORDS,
  laneOffsetWords,
  SLOT_COUNT,
  slotOf,
  stamp,
  stampSeedWord,
} from '../../../workloads/stamp.ts';
import { Guests, guestSpec, until, untilWritten } from './specs.ts';

const guests = new Guests();
afterEach(() => guests.destroyAll());

/** A paused guest in which every page was written several times. */
async function writtenGuest(): Promise<Guest> {
  const guest = await guests.create(guestSpec());
  await until(() => new Uint32Array(guest.shared.writes).every((writes) => writes > 2));
  await guest.pause();
  return guest;
}

function pageOf(guest: Guest, page: number): Uint32Array<SharedArrayBuffer> {
  return new Uint32Array(guest.shared.memory, page * PAGE_WORDS * 4, PAGE_WORDS);
}

/** Lets the guest write until a page has changed by one version or more; answers what the page was before. */
async function agedPage(guest: Guest, page: number): Promise<Uint32Array> {
  const old = pageOf(guest, page).slice();
  await guest.resume();
  await until(() => new Uint32Array(guest.shared.writes)[page] !== old[0]);
  await guest.pause();
  return old;
}

describe('an audit', () => {
  test('finds a lost write: the last stamp of a page is undone', async () => {
    const guest = await writtenGuest();
    const page = 17;
    const words = pageOf(guest, page);
    const version = words[0]!;
    const bootLane = new Uint32Array(LANE_WORDS);
    bootContent(guest.spec).bootLane(page, 0, bootLane);
    const slot = slotOf(version);
    const seed = stampSeedWord(guest.spec.seed);
    words[slot] = version > SLOT_COUNT ? stamp(seed, page, 0, version - SLOT_COUNT) : bootLane[slot]!;
    words[0] = version - 1;
    const { faults, faultCount } = await guest.audit();
    expect(faults).toMatchObject([{ page: 17n, kind: 'lost-write' }]);
    expect(faults[0]?.detail).toContain(`version ${version - 1}, expected ${version}`);
    expect(faultCount).toBe(1n);
  });

  test('finds a stale page: an old copy of the whole page', async () => {
    const guest = await writtenGuest();
    pageOf(guest, 200).set(await agedPage(guest, 200));
    const { faults } = await guest.audit();
    expect(faults).toMatchObject([{ page: 200n, kind: 'lost-write' }]);
  });

  test('finds a torn page: old to the middle of a lane, new from there on', async () => {
    const guest = await writtenGuest();
    const page = 3;
    const old = await agedPage(guest, page);
    const words = pageOf(guest, page);
    const version = words[0]!;
    const middle = slotOf(version);
    words.set(old.subarray(0, middle));
    const { faults } = await guest.audit();
    expect(faults).toMatchObject([{ page: 3n, kind: 'torn' }]);
  });

  test('finds swapped pages, names both, and says whose content each holds', async () => {
    const guest = await writtenGuest();
    const first = pageOf(guest, 5).slice();
    pageOf(guest, 5).set(pageOf(guest, 99));
    pageOf(guest, 99).set(first);
    const { faults } = await guest.audit();
    expect(faults).toMatchObject([
      { page: 5n, kind: 'foreign' },
      { page: 99n, kind: 'foreign' },
    ]);
    expect(faults[0]?.detail).toContain('page 99');
    expect(faults[1]?.detail).toContain('page 5 ');
  });

  test('finds a write in a lane that no vCPU has', async () => {
    const guest = await writtenGuest();
    new Uint32Array(guest.shared.memory)[laneOffsetWords(8, 7)] = 1;
    expect((await guest.audit()).faults).toMatchObject([{ page: 8n }]);
  });

  test('lists 100 faults and counts all', async () => {
    const guest = await writtenGuest();
    for (let page = 0; page < pageCountOf(guest.spec); page++) pageOf(guest, page)[0]! -= 1;
    const { faults, faultCount } = await guest.audit();
    expect(faults).toHaveLength(100);
    expect(faultCount).toBe(256n);
  });
});

describe('an audit of a sound guest', () => {
  const trace = Buffer.from(new Uint32Array(2000).map((_, at) => (at % 2 === 0 ? at * 10 : at % 256)).buffer);
  const cases = WORKLOADS.flatMap((kind) => [1, 4].map((vcpuCount) => ({ kind, vcpuCount })));

  test.each(cases)('is clean after pauses: $kind on $vcpuCount vCPUs', async ({ kind, vcpuCount }) => {
    const workload = { kind, rate: 20_000, trace: kind === 'trace' ? trace : Buffer.alloc(0) };
    const guest = await guests.create(guestSpec(workload, { mebibytes: vcpuCount, vcpuCount }));
    for (let round = 0; round < 3; round++) {
      if (kind !== 'idle') await untilWritten(guest, 100);
      await guest.pause();
      await guest.resume();
    }
    const report = await guest.audit();
    expect(report).toMatchObject({ faults: [], faultCount: 0n, evidence: 'ledger' });
    expect(report.pagesChecked).toBe(BigInt(256 * vcpuCount));
    const written = new Uint32Array(guest.shared.writes).reduce((sum, writes) => sum + writes, 0);
    expect(written > 0).toBe(kind !== 'idle');
    expect(guest.running).toBe(true);
  });

  test('leaves a paused guest paused', async () => {
    const guest = await writtenGuest();
    const ledger = currentLedger(guest.shared);
    await guest.audit();
    expect(guest.running).toBe(false);
    expect(currentLedger(guest.shared)).toEqual(ledger);
  });
});

describe('a guest that came from another host', () => {
  /** A guest with the memory and the vCPU states of another, as a mover leaves it; not yet resumed. */
  async function arrived(source: Guest): Promise<Guest> {
    const guest = await guests.incoming(source.spec);
    new Uint8Array(guest.shared.memory).set(new Uint8Array(source.shared.memory));
    for (let vcpu = 0; vcpu < source.spec.vcpuCount; vcpu++) {
      writeVcpuState(guest.shared, vcpu, readVcpuState(source.shared, vcpu));
    }
    return guest;
  }

  test('goes on where it stopped, and is clean by the ledger that came', async () => {
    const source = await writtenGuest();
    const guest = await arrived(source);
    new Uint32Array(guest.shared.base).set(currentLedger(source.shared));
    guest.ledgerArrived();
    await guest.resume();
    await untilWritten(guest, 1000);
    expect(await guest.audit()).toMatchObject({ faults: [], evidence: 'ledger' });
  });

  test('is clean by the digest when the ledger did not come, and then has the base', async () => {
    const source = await writtenGuest();
    const ledger = currentLedger(source.shared);
    const guest = await arrived(source);
    guest.expectedDigest = digestOf(ledger);
    await guest.resume();
    await untilWritten(guest, 1000);
    expect(await guest.audit()).toMatchObject({ faults: [], evidence: 'digest' });
    expect(new Uint32Array(guest.shared.base)).toEqual(ledger);
  });

  test('has a fault without a page when memory does not agree with the digest', async () => {
    const source = await writtenGuest();
    const old = pageOf(source, 9).slice();
    await agedPage(source, 9);
    const guest = await arrived(source);
    guest.expectedDigest = digestOf(currentLedger(source.shared));
    pageOf(guest, 9).set(old);
    await guest.resume();
    expect(await guest.audit()).toMatchObject({ faults: [{ kind: 'digest' }], faultCount: 1n });
    expect(await guest.recoverBase()).toBe(false);
  });
});
