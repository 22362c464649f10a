/**
 * The whole ownership protocol under random faults: the coordinator's real code, and model hosts that keep to
 * docs/ownership.md. Goal: at most one copy of the guest runs at any time, it is not lost while a live host
 * has it whole, and every handover is decided once the faults have ended. The last tests plant faults that
 * the model must find.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { World, type WorldOptions } from '../unit/coordinator/handover-world.ts';

/** What happened in a number of worlds. */
interface Tally {
  worlds: number;
  moves: number;
  decisions: number;
  kills: number;
}

async function live(world: World, tally: Tally): Promise<void> {
  try {
    await world.run();
  } finally {
    world.store.close();
    tally.worlds += 1;
    tally.moves += world.moves;
    tally.decisions += world.decisions;
    tally.kills += world.kills;
  }
}

async function liveMany(count: number, options: Omit<WorldOptions, 'seed'>): Promise<Tally> {
  const tally: Tally = { worlds: 0, moves: 0, decisions: 0, kills: 0 };
  const seeds = fc.integer({ min: 1, max: 2 ** 31 - 1 });
  const property = fc.asyncProperty(seeds, (seed) => live(new World({ ...options, seed }), tally));
  await fc.assert(property, { numRuns: count, endOnFailure: true });
  return tally;
}

/** The first rule that is broken, over many seeds; or that none was. */
async function firstFault(options: Omit<WorldOptions, 'seed'>): Promise<string> {
  const worldsMax = 3_000;
  const tally: Tally = { worlds: 0, moves: 0, decisions: 0, kills: 0 };
  for (let seed = 1; seed <= worldsMax; seed++) {
    try {
      await live(new World({ ...options, seed }), tally);
    } catch (error) {
      return String(error);
    }
  }
  return `no fault in ${worldsMax} worlds`;
}

describe('a guest that moves among three hosts', () => {
  test('runs once and is never lost when lines are cut and the coordinator dies', async () => {
    const { worlds, moves, decisions } = await liveMany(100, { chaosMs: 8_000, hostsDie: false });
    // The faults did happen: many moves were begun, and many ended by the witness's word.
    expect(moves).toBeGreaterThan(worlds);
    expect(decisions).toBeGreaterThan(worlds);
  });

  test('is not lost either when every other move is a post-copy', async () => {
    const { worlds, moves } = await liveMany(100, { chaosMs: 8_000, hostsDie: false, postCopy: true });
    expect(moves).toBeGreaterThan(worlds);
    await liveMany(50, { chaosMs: 8_000, hostsDie: true, postCopy: true });
  });

  test('runs at most once, and is lost only with the hosts that had it, when hosts die as well', async () => {
    const { worlds, kills } = await liveMany(100, { chaosMs: 8_000, hostsDie: true });
    expect(kills).toBeGreaterThan(worlds / 2);
  });
});

describe('the model finds it', () => {
  test('when the coordinator counts a lease as ended before its host does', async () => {
    const fault = await firstFault({ chaosMs: 8_000, hostsDie: false, leaseShare: 0.2 });
    expect(fault).toMatch(/the guest runs on \w and \w|though no host died/);
  });

  test('when a destination that lacks pages says that it has the whole guest', async () => {
    const options = { chaosMs: 8_000, hostsDie: false, postCopy: true, hideLacking: true };
    expect(await firstFault(options)).toMatch(/though no host died/);
  });

  test('when a source frees a guest by itself that the witness may be giving back to it', async () => {
    const fault = await firstFault({ chaosMs: 8_000, hostsDie: false, forgetPledge: true });
    expect(fault).toMatch(/though no host died/);
  });
});
