/** From which addresses guests get their own. */
import { describe, expect, test } from 'vitest';
import { guestAddresses, ipv4RangeText, lastPart, parseIpv4Range } from '../../../proto/ipv4-range.ts';

function range(text: string) {
  const found = parseIpv4Range(text);
  if (found === undefined) throw new Error(`${text} is no range`);
  return found;
}

test('a range may be named by any of its addresses', () => {
  expect(ipv4RangeText(range('172.18.0.5/16'))).toBe('172.18.0.0/16');
  expect(ipv4RangeText(range('192.168.1.77/30'))).toBe('192.168.1.76/30');
});

test.each([
  '',
  '10.0.2.0',
  '10.0.2.0/31',
  '10.0.2.0/7',
  '10.0.2.256/24',
  '10.0.02.0/24',
  '10.0.2/24',
  '::1/24',
])('"%s" is no range', (text) => {
  expect(parseIpv4Range(text)).toBeUndefined();
});

describe('the last part of a subnet', () => {
  test.each([
    ['172.18.0.5/16', '172.18.255.0/24'],
    ['10.0.1.4/24', '10.0.1.240/28'],
    ['192.168.1.9/26', '192.168.1.60/30'],
  ])('of %s is %s', (subnet, part) => {
    expect(ipv4RangeText(lastPart(range(subnet))!)).toBe(part);
  });

  test('of a subnet that is too small there is none', () => {
    expect(lastPart(range('192.168.1.9/27'))).toBeUndefined();
  });
});

describe('the addresses of guests', () => {
  test('are the first of the range, without its very first and those of others', () => {
    expect(guestAddresses(range('10.0.2.0/24'), 3, ['10.0.2.2'])).toEqual([
      '10.0.2.1',
      '10.0.2.3',
      '10.0.2.4',
    ]);
  });

  test('never include the last, and too many are refused with what there is', () => {
    expect(guestAddresses(range('10.0.2.0/30'), 2, [])).toEqual(['10.0.2.1', '10.0.2.2']);
    expect(() => guestAddresses(range('10.0.2.0/30'), 3, [])).toThrow(
      '10.0.2.0/30 has addresses for 2 guests, and there are 3',
    );
  });
});
