/** Units: what they accept, and that printing loses nothing. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bandwidth, duration, rate, size } from '../../../spec/units.ts';

describe('units', () => {
  it.each([
    [size, '256MiB', 268_435_456],
    [size, '4 KiB', 4096],
    [size, '1.5GiB', 1_610_612_736],
    [size, '1.1MB', 1_100_000],
    [size, '0B', 0],
    [duration, '500us', 0.5],
    [duration, '20ms', 20],
    [duration, '2m', 120_000],
    [bandwidth, '1gbit', 125_000_000],
    [bandwidth, '10kbit', 1250],
    [bandwidth, '64MiB/s', 67_108_864],
    [bandwidth, 'unlimited', 0],
  ])('reads %# %j', (unit, text, value) => {
    expect(unit.parse(text)).toBe(value);
  });

  it('reads rates with what they count', () => {
    expect(rate.parse('20000 pages/s')).toEqual({ perS: 20_000, of: 'pages' });
    expect(rate.parse('500 ops/s')).toEqual({ perS: 500, of: 'ops' });
    expect(rate.parse('unlimited')).toEqual({ perS: 0, of: 'pages' });
  });

  it.each([
    [size, ['256', '256mib', '-1MiB', '1.5B', 'MiB', '1e999MiB', '']],
    [duration, ['5', '5 sec', '1s 2ms', '-1s']],
    [bandwidth, ['100', '100Mbit', '0mbit', '1MiB', '1kbps']],
    [rate, ['5000', '0 pages/s', '5 pages', '5 writes/s', '-5 ops/s']],
  ])('refuses %# %j', (unit, texts) => {
    for (const text of texts) expect(unit.parse(text), text).toBeUndefined();
  });

  it('prints what people would write', () => {
    expect(size.format(268_435_456)).toBe('256MiB');
    expect(duration.format(300)).toBe('300ms');
    expect(bandwidth.format(50_000_000)).toBe('50MB/s');
    expect(bandwidth.format(0)).toBe('unlimited');
    expect(rate.format({ perS: 5000, of: 'pages' })).toBe('5000 pages/s');
  });

  it('reads what it prints as the same value', () => {
    const positive = fc.double({ min: Number.MIN_VALUE, max: 1e300, noNaN: true });
    fc.assert(fc.property(fc.maxSafeNat(), (bytes) => size.parse(size.format(bytes)) === bytes));
    fc.assert(
      fc.property(fc.option(positive, { nil: 0 }), (ms) => duration.parse(duration.format(ms)) === ms),
    );
    fc.assert(
      fc.property(fc.option(positive, { nil: 0 }), (bps) => bandwidth.parse(bandwidth.format(bps)) === bps),
    );
    fc.assert(
      fc.property(positive, fc.constantFrom('pages' as const, 'ops' as const), (perS, of) => {
        expect(rate.parse(rate.format({ perS, of }))).toEqual({ perS, of });
      }),
    );
  });
});
