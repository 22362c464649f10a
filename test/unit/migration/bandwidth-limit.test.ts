/** Goal: max-bandwidth is kept over any time, and used when it can be. Method: a clock of the test's own. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BandwidthLimit } from '../../../hosts/migration/bandwidth-limit.ts';

const RATE = 1_000_000;
/** What may leave at once after a time without sending: 50 ms worth. */
const BURST_BYTES = RATE * 0.05;

describe('a bandwidth limit', () => {
  test('lets no more bytes leave in any time than its rate, a burst and one frame', () => {
    const frames = fc.array(fc.record({ bytes: fc.nat(30_000), idleMs: fc.nat(200), overslept: fc.nat(30) }));
    fc.assert(
      fc.property(frames, (sent) => {
        const limit = new BandwidthLimit(RATE);
        let now = 1000;
        let bytes = 0;
        for (const { bytes: size, idleMs, overslept } of sent) {
          bytes += size;
          const allowed = ((now - 1000) / 1000) * RATE + BURST_BYTES + RATE * 0.001;
          expect(bytes - size).toBeLessThanOrEqual(allowed);
          const wait = limit.spend(size, now);
          now += idleMs + wait + (wait > 0 ? overslept : 0);
        }
      }),
    );
  });

  test('reaches its rate although timers oversleep', () => {
    const limit = new BandwidthLimit(RATE);
    let now = 0;
    let bytes = 0;
    while (now < 10_000) {
      bytes += 10_000;
      const wait = limit.spend(10_000, now);
      now += wait === 0 ? 0 : wait + 7;
    }
    expect(bytes).toBeGreaterThan(RATE * 10 * 0.99);
  });

  test('does not begin a pass with a burst', () => {
    const limit = new BandwidthLimit(RATE);
    limit.begin(5000);
    expect(limit.spend(20_000, 5000)).toBe(20);
    // Nor does it forget what the pass before has spent.
    limit.begin(5005);
    expect(limit.spend(20_000, 5005)).toBe(35);
  });

  test('has frames of 10 ms of it, from a page to 1 MiB; without a limit 1 MiB and no wait', () => {
    const pagesOf = (rate: number): number => new BandwidthLimit(rate).framePagesMax;
    expect([1000, 4_096_000, 50_000_000_000, 0].map(pagesOf)).toEqual([1, 10, 256, 256]);
    expect(new BandwidthLimit(0).spend(1e12, 0)).toBe(0);
  });
});
