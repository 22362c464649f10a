/** What shapes, faults and schedules may say, what they mean for a path, and what is flagged. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { askedPath, compareProbe } from '../../../hosts/network/comparison.ts';
import { pathBudget } from '../../../hosts/network/path-budget.ts';
import {
  LinkDirection,
  LinkFaultKind,
  type LinkShape,
  type NetworkShape,
  type ProbeResult,
} from '../../../proto/generated/godwit/v1/network.ts';
import { scheduleProblems, shapeAt } from '../../../proto/network-schedule.ts';
import {
  linkFaultProblem,
  NO_FAULT,
  networkShapeProblems,
  UNSHAPED_LINK,
  unshapedNetwork,
} from '../../../proto/network-shape.ts';

const link = (changes: Partial<LinkShape>): LinkShape => ({ ...UNSHAPED_LINK, ...changes });
const egress = (changes: Partial<LinkShape>): NetworkShape => ({
  ...unshapedNetwork(),
  egress: link(changes),
});

describe('a shape', () => {
  test.each([
    [{ rateBytesPerS: 999 }, 'egress rate is 999; allowed is 0 (unlimited) or 1000 to'],
    [{ rateBytesPerS: Number.NaN }, 'egress rate is NaN'],
    [{ delayMs: -1 }, 'egress delay is -1; allowed is 0 to 60000 ms'],
    [{ delayMs: 5, jitterMs: 6 }, 'egress jitter is 6; allowed is 0 to the delay, 5 ms'],
    [{ loss: 1 }, 'egress loss is 1; allowed is a share from 0 to 0.99'],
    [{ burstBytes: 5 }, 'egress burst is 5 without a rate'],
    [{ queueBytes: 1 }, 'egress queue is 1; allowed is 0 (the default) or 4096 to'],
  ])('with %o is refused by the value and what is allowed', (changes, problem) => {
    expect(networkShapeProblems(egress(changes))[0]).toContain(problem);
  });

  test('names the peer whose link is wrong, and refuses a peer that is given twice', () => {
    const peer = { peer: 'host-2', egress: link({ delayMs: -1 }), ingress: undefined };
    const problems = networkShapeProblems({ ...unshapedNetwork(), peers: [peer, peer] });
    expect(problems[0]).toContain('egress to host-2 delay is -1');
    expect(problems.at(-1)).toContain('peer host-2 is given twice');
  });

  test('that says nothing, or no more than the limits, is accepted', () => {
    expect(networkShapeProblems(unshapedNetwork())).toEqual([]);
    const most = {
      rateBytesPerS: 125e9,
      delayMs: 60_000,
      jitterMs: 60_000,
      loss: 0.99,
      burstBytes: 1,
      queueBytes: 4096,
    };
    expect(networkShapeProblems(egress(most))).toEqual([]);
  });

  test('leaves in flight what waits for 20 ms of the rate and what the delay holds', () => {
    const budget = pathBudget([
      link({ rateBytesPerS: 125e6, delayMs: 40 }),
      link({ rateBytesPerS: 250e6, delayMs: 10 }),
    ]);
    expect(budget).toMatchObject({ rateBytesPerS: 125e6, delayMs: 50, queueBytes: 2.5e6 });
    expect(budget.inFlightBytes).toBe(2.5e6 + 6.25e6 + 65_536);
    expect(pathBudget([link({ rateBytesPerS: 125e6, delayMs: 40, queueBytes: 10_000 })]).inFlightBytes).toBe(
      10_000,
    );
  });
});

test('a fault without what it needs is refused, one with it is accepted', () => {
  const { LINK_FAULT_KIND_HALF_OPEN, LINK_FAULT_KIND_STALL, LINK_FAULT_KIND_CUT } = LinkFaultKind;
  expect(linkFaultProblem({ ...NO_FAULT, kind: 0 })).toContain('allowed is none, cut');
  expect(linkFaultProblem({ ...NO_FAULT, kind: LINK_FAULT_KIND_HALF_OPEN })).toContain('egress or ingress');
  expect(linkFaultProblem({ ...NO_FAULT, kind: LINK_FAULT_KIND_STALL })).toContain('duration is 0 ms');
  expect(linkFaultProblem({ ...NO_FAULT, kind: LINK_FAULT_KIND_CUT, peer: '-' })).toContain('peer');
  const direction = LinkDirection.LINK_DIRECTION_EGRESS;
  expect(linkFaultProblem({ ...NO_FAULT, kind: LINK_FAULT_KIND_HALF_OPEN, direction })).toBeUndefined();
  expect(linkFaultProblem({ ...NO_FAULT, kind: LINK_FAULT_KIND_STALL, durationMs: 5 })).toBeUndefined();
});

describe('a schedule', () => {
  const base = egress({ rateBytesPerS: 1e6, delayMs: 5 });

  test('has at each time what the changes until then have made of the shape', () => {
    const changes = [
      { atMs: 2000, direction: 'egress', link: { rateBytesPerS: 2e6 } },
      { atMs: 1000, link: { delayMs: 7 } },
      { atMs: 2000, peer: 'host-2', direction: 'ingress', link: { delayMs: 9 } },
    ] as const;
    expect(shapeAt(base, changes, 999)).toEqual(base);
    expect(shapeAt(base, changes, 1000)).toEqual({
      egress: link({ rateBytesPerS: 1e6, delayMs: 7 }),
      ingress: link({ delayMs: 7 }),
      peers: [],
    });
    expect(shapeAt(base, changes, 1e9)).toEqual({
      egress: link({ rateBytesPerS: 2e6, delayMs: 7 }),
      ingress: link({ delayMs: 7 }),
      peers: [{ peer: 'host-2', egress: undefined, ingress: link({ delayMs: 9 }) }],
    });
  });

  test('is refused with the time from which on its shape is wrong', () => {
    const changes = [
      { atMs: 10, link: { delayMs: 1 } },
      { atMs: 30, link: { rateBytesPerS: 1 } },
    ];
    expect(scheduleProblems(base, changes)[0]).toContain('from 30 ms on: egress rate is 1');
    expect(scheduleProblems(base, changes.slice(0, 1))).toEqual([]);
  });
});

describe('a comparison', () => {
  const source = { name: 'a', shape: egress({ rateBytesPerS: 1e8, delayMs: 10 }) };
  const destination = {
    name: 'b',
    shape: {
      ...unshapedNetwork(),
      ingress: link({ rateBytesPerS: 2e8, delayMs: 1 }),
      peers: [{ peer: 'a', egress: link({ delayMs: 4 }), ingress: link({ rateBytesPerS: 5e7 }) }],
    },
  };
  const result = (rateBytesPerS: number, roundTripMs: number): ProbeResult => ({
    rateBytesPerS,
    receivedBytes: 1n,
    measuredMs: 1,
    roundTripMs,
    roundTripMinMs: roundTripMs,
    roundTripMaxMs: roundTripMs,
  });

  test('asks the least rate of the way out and the delays of both ways', () => {
    expect(askedPath(source, destination)).toEqual({ rateBytesPerS: 5e7, roundTripMs: 15 });
  });

  test('flags a rate that is off by more than 3 % and a round trip that is off by more than 1 ms', () => {
    fc.assert(
      // Odd thousandths lie on no limit.
      fc.property(fc.integer({ min: -250, max: 250 }), fc.integer({ min: -5000, max: 5000 }), (a, b) => {
        const [share, ms] = [(2 * a + 1) / 1000, (2 * b + 1) / 1000];
        const { differences } = compareProbe(source, destination, result(5e7 * (1 + share), 15 + ms));
        const flagged = Number(Math.abs(share) > 0.03) + Number(Math.abs(ms) > 1);
        expect(differences.length).toBe(flagged);
      }),
    );
  });

  test('cannot miss a rate that nobody asked for', () => {
    const free = { name: 'c', shape: unshapedNetwork() };
    expect(compareProbe(free, { ...free, name: 'd' }, result(5, 0.5)).differences).toEqual([]);
  });
});
