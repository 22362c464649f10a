/** Goal: contenders take turns, and one that cannot go on stops neither the others nor hides what it did. */
import { beforeEach, expect, test, vi } from 'vitest';
import { PeerProblem } from '../../../bench/peers/peer.ts';
import { best, inRounds } from '../../../bench/rounds.ts';
import type { Outcome } from '../../../bench/row.ts';

const same = (value: number): number => value;

beforeEach(() => {
  vi.spyOn(console, 'log').mockImplementation(() => {});
});

test('contenders take turns: A B, A B, A B', async () => {
  const turns: string[] = [];
  const run = (name: string) => async (): Promise<number> => turns.push(name);
  const { a } = await inRounds(3, { a: run('a'), b: run('b') });
  expect(turns.join('')).toBe('ababab');
  expect(a).toEqual({ name: 'a', samples: [1, 3, 5] });
});

test('a contender that throws is left out of the rounds that follow, and the others go on', async () => {
  let runs = 0;
  const { good, peer, godwit } = await inRounds(3, {
    good: async () => 1,
    peer: async () => {
      runs++;
      throw new PeerProblem('not installed');
    },
    godwit: async () => {
      throw new Error('trial 1 failed');
    },
  });
  expect(good).toEqual({ name: 'good', samples: [1, 1, 1] });
  expect(runs).toBe(1);
  expect(peer).toEqual({ name: 'peer', problem: 'not installed', failed: false });
  expect(godwit).toEqual({ name: 'godwit', problem: 'trial 1 failed', failed: true });
});

test('the best is the one with the least median, and not one that is missing', () => {
  const slow: Outcome<number> = { name: 'slow', samples: [1, 9, 9] };
  const fast: Outcome<number> = { name: 'fast', samples: [5, 5, 5] };
  const missing: Outcome<number> = { name: 'missing', problem: 'not installed', failed: false };
  expect(best([missing, slow, fast], same).name).toBe('fast');
  expect(best([missing], same).name).toBe('missing');
});

test('the best does not hide that one of them failed', () => {
  const good: Outcome<number> = { name: 'good', samples: [1] };
  const failed: Outcome<number> = { name: 'failed', problem: '3 pages are wrong', failed: true };
  expect(best([good, failed], same).name).toBe('failed');
});
