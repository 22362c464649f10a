/** The witness's memory: compare-and-set, what outlives a kill -9, and files that it must refuse. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { OwnershipStore } from '../../../coordinator/ownership-store.ts';
import { guestSpec } from './guest-specs.ts';

let folder: string;
const closers: (() => unknown)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'godwit-store-'));
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  rmSync(folder, { recursive: true, force: true });
});

function open(path: string): OwnershipStore {
  const store = new OwnershipStore(path);
  closers.push(() => store.close());
  return store;
}

const key = (migration: string, epoch = 1n) => ({ guest: 'g', epoch, migration });

describe('compare-and-set', () => {
  function storeWithGuest(): OwnershipStore {
    const store = open(':memory:');
    expect(store.createGuest(guestSpec('g'), 'host-1', 1n)).toBe(true);
    return store;
  }

  test('gives a name once', () => {
    const store = storeWithGuest();
    expect(store.createGuest(guestSpec('g'), 'host-2', 1n)).toBe(false);
    expect(store.guest('g')?.owner).toBe('host-1');
  });

  test('begins a handover only for the owner, at its epoch, and when none is open', () => {
    const store = storeWithGuest();
    expect(store.beginHandover(key('m1'), 'host-2', 'host-3')).toBe(false);
    expect(store.beginHandover(key('m1', 2n), 'host-1', 'host-2')).toBe(false);
    expect(store.beginHandover(key('m1'), 'host-1', 'host-2')).toBe(true);
    expect(store.beginHandover(key('m2'), 'host-1', 'host-3')).toBe(false);
    expect(store.guest('g')?.handover).toEqual({ migration: 'm1', destination: 'host-2' });
  });

  test('closes a handover once, and moves owner and epoch only with the guest', () => {
    const store = storeWithGuest();
    store.beginHandover(key('m1'), 'host-1', 'host-2');
    expect(store.closeHandover(key('m2'), 'destination')).toBe(false);
    expect(store.closeHandover(key('m1', 2n), 'destination')).toBe(false);
    expect(store.closeHandover(key('m1'), 'source')).toBe(true);
    expect(store.closeHandover(key('m1'), 'destination')).toBe(false);
    expect(store.guest('g')).toMatchObject({ owner: 'host-1', epoch: 1n, handover: undefined });
    store.beginHandover(key('m3'), 'host-1', 'host-2');
    expect(store.closeHandover(key('m3'), 'destination')).toBe(true);
    expect(store.guest('g')).toMatchObject({ owner: 'host-2', epoch: 2n, handover: undefined });
    expect(store.closedHandover('g', 'm1')?.winner).toBe('host-1');
    expect(store.closedHandover('g', 'm3')?.winner).toBe('host-2');
  });

  test('remembers the last 100 closed handovers of each guest', () => {
    const store = storeWithGuest();
    store.createGuest(guestSpec('other'), 'host-1', 1n);
    store.closeUnbegun({ guest: 'other', epoch: 1n, migration: 'm0' }, 'host-1');
    for (let index = 0; index < 102; index++) store.closeUnbegun(key(`m${index}`), 'host-1');
    expect(store.closedHandover('g', 'm1')).toBeUndefined();
    expect(store.closedHandover('g', 'm2')?.winner).toBe('host-1');
    expect(store.closedHandover('other', 'm0')?.winner).toBe('host-1');
  });
});

describe('the state file', () => {
  test('brings back everything that was on record', () => {
    const path = join(folder, 'state');
    const store = new OwnershipStore(path);
    store.createGuest(guestSpec('g'), 'host-1', 7n);
    store.beginHandover(key('m1', 7n), 'host-1', 'host-2');
    store.setIncarnation('host-1', 'process-1');
    store.setLeaseMs(5_000);
    const before = store.guests();
    store.close();
    const again = open(path);
    expect(again.guests()).toEqual(before);
    expect(again.incarnations()).toEqual(new Map([['host-1', 'process-1']]));
    expect(again.setLeaseMs(1_000)).toBe(5_000);
  });

  test('holds everything that was answered before a kill -9 in the middle of writes', async () => {
    const path = join(folder, 'state');
    const script = fileURLToPath(new URL('store-writer.ts', import.meta.url));
    const child = spawn(process.execPath, [script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    closers.push(() => child.kill('SIGKILL'));
    const answered: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      answered.push(line);
      if (answered.length === 200) child.kill('SIGKILL');
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    expect(child.signalCode).toBe('SIGKILL');
    const store = open(path);
    const last = answered.at(-1)?.split(' ') ?? [];
    // What the writer said last, or the one change that it had made and could not say any more.
    const rounds = Number(last[1]);
    expect(rounds).toBeGreaterThan(10);
    const record = store.guest('g');
    expect(record?.epoch).toBeGreaterThanOrEqual(BigInt(rounds) + (last[0] === 'closed' ? 2n : 1n));
    expect(record?.epoch).toBeLessThanOrEqual(BigInt(rounds) + 2n);
    for (const line of answered.slice(-50)) {
      const [what, round] = line.split(' ');
      if (what !== 'closed') continue;
      const winner = Number(round) % 2 === 0 ? 'host-2' : 'host-1';
      expect(store.closedHandover('g', `m${round}`)?.winner).toBe(winner);
    }
  });

  test('is refused when it is no database, another program’s, of a newer godwit, or in use', () => {
    const garbage = join(folder, 'garbage');
    writeFileSync(garbage, 'not a database '.repeat(1_000));
    expect(() => new OwnershipStore(garbage)).toThrow(
      `state file ${garbage}: is not a database; name another file`,
    );

    const foreign = join(folder, 'foreign');
    const database = new DatabaseSync(foreign);
    database.exec('CREATE TABLE things (name TEXT)');
    database.close();
    expect(() => new OwnershipStore(foreign)).toThrow("another program's database; name another file");

    const newer = join(folder, 'newer');
    new OwnershipStore(newer).close();
    const later = new DatabaseSync(newer);
    later.exec('PRAGMA user_version = 99');
    later.close();
    expect(() => new OwnershipStore(newer)).toThrow('has version 99, and this godwit knows versions up to 1');

    const used = join(folder, 'used');
    open(used);
    expect(() => new OwnershipStore(used)).toThrow('another coordinator has it');

    expect(() => new OwnershipStore(join(folder, 'no', 'state'))).toThrow('its folder has to exist');
  });
});
