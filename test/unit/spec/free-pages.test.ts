/** What a spec may say about free pages and the order of pages, and what it is told when it is wrong. */

import { describe, expect, it } from 'vitest';
import { convergenceOf } from '../../../proto/convergence.ts';
import { FreePages, Skip } from '../../../proto/generated/godwit/v1/migration.ts';
import {
  DEFAULT_ANNOUNCE,
  firstQueuePage,
  poolPageCount,
  workloadPageCount,
} from '../../../proto/guest-network.ts';
import { guestSpecProblems } from '../../../proto/guest-spec.ts';
import { parseSpec } from '../../../spec/parse-spec.ts';
import { toPlain } from '../../../spec/plain.ts';

const parse = (content: string, migration = 'technique: pre-copy') =>
  parseSpec(`guest: {memory: 1MiB, content: ${content}}\nmigration: {${migration}}`, 's.yaml');

describe('free pages', () => {
  it('are a share of all pages, behind those of the workload, and are written down as they are read', () => {
    const spec = parse('{zero: 0.1, free: 0.5, free-churn: 300 pages/s}');
    expect(spec.guest.content).toMatchObject({ free: 0.5, freeChurnPagesPerS: 300 });
    expect([workloadPageCount(spec.guest), poolPageCount(spec.guest), firstQueuePage(spec.guest)]).toEqual([
      128, 128, 256,
    ]);
    expect(toPlain(spec).guest).toMatchObject({ content: { free: 0.5, 'free-churn': '300 pages/s' } });
    expect(parseSpec(JSON.stringify(toPlain(spec)), 's.yaml')).toEqual(spec);
  });

  it.each([
    ['{free: 0.96}', /content\.free.*a number from 0 to 0.95/],
    ['{free-churn: 5 pages/s}', /free-churn.*give free as well/],
    ['{free: 0.5, free-churn: 5 ops/s}', /free-churn.*a rate in pages\/s/],
    ['{free: 0.5, free-churn: 2000000 pages/s}', /free-churn.*from 0 pages\/s to 1000000 pages\/s/],
  ])('%s is refused', (content, why) => {
    expect(() => parse(content)).toThrow(why);
  });

  it('leave the workload some pages, which its working set must fit', () => {
    const memory = '{memory: 1MiB, content: {free: 0.5}, workload: {kind: uniform, working-set: 768KiB}}';
    expect(() => parseSpec(`guest: ${memory}\nmigration: {technique: pre-copy}`, 's.yaml')).toThrow(
      /working-set is 786432 bytes; allowed .* 524288/,
    );
    const { guest } = parse('{free: 0.95}');
    const network = { address: '10.0.0.1', port: 1, forwarder: '', token: '', announce: DEFAULT_ANNOUNCE };
    const workload = { ...guest.workload!, kind: 'kv' };
    const crowded = { ...guest, memoryBytes: 2n * 1024n * 1024n, workload, network };
    expect(guestSpecProblems(crowded)).toEqual([expect.stringContaining('leave some to the workload')]);
  });

  it('are left out by every technique, as the migration says', () => {
    for (const technique of ['stop-and-copy', 'pre-copy', 'post-copy', 'hybrid']) {
      const { variants } = parse('{free: 0.5}', `technique: ${technique}, free-pages: [hints, balloon]`);
      expect(variants.map(({ options }) => convergenceOf(options).freePages)).toEqual([
        FreePages.FREE_PAGES_HINTS,
        FreePages.FREE_PAGES_BALLOON,
      ]);
    }
  });
});

it('skip and dirty-last are of rounds', () => {
  const { variants } = parse('{}', 'technique: hybrid, skip: working-set, dirty-last: true');
  expect(convergenceOf(variants[0]!.options)).toMatchObject({ skip: Skip.SKIP_WORKING_SET, dirtyLast: true });
  expect(() => parse('{}', 'technique: post-copy, skip: working-set')).toThrow(/skip/);
});
