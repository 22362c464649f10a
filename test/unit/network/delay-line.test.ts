/** The way behind a link: a delay, and an order that no jitter breaks. */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DelayLine } from '../../../hosts/network/delay-line.ts';

const dues = fc.array(fc.double({ min: 0, max: 1000, noNaN: true }), { minLength: 1, maxLength: 50 });

test('items come out in the order in which they went in, none before it is due, despite jitter', () => {
  fc.assert(
    fc.property(dues, (times) => {
      const line = new DelayLine<number>();
      const dueMs = times.map((time, item) => line.push(item, time));
      const out: number[] = [];
      for (let nowMs = 0; out.length < times.length; nowMs += 7) {
        for (let item = line.shift(nowMs); item !== undefined; item = line.shift(nowMs)) {
          expect(dueMs[item]!).toBeLessThanOrEqual(nowMs);
          expect(times[item]!).toBeLessThanOrEqual(dueMs[item]!);
          out.push(item);
        }
        expect(line.nextMs()).toBeGreaterThan(nowMs);
      }
      expect(out).toEqual(times.map((_, item) => item));
    }),
  );
});

test('a line that was held goes on with the same spacing', () => {
  const line = new DelayLine<string>();
  line.push('a', 10);
  line.push('b', 25);
  line.postpone(1000);
  expect(line.shift(1009)).toBeUndefined();
  expect(line.shift(1010)).toBe('a');
  expect(line.nextMs()).toBe(1025);
});

test('an item that was pushed into an empty line after a hold is not held as well', () => {
  const line = new DelayLine<string>();
  line.push('a', 10);
  line.shift(10);
  line.postpone(1000);
  expect(line.push('b', 30)).toBe(30);
});
