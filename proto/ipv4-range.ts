/**
 * Ranges of IPv4 addresses, "10.0.2.0/24": from such a one guests get addresses of their own. Pure.
 */

/** The addresses that share their first bits. */
export interface Ipv4Range {
  /** The first address, as a uint32. */
  readonly first: number;
  /** How many leading bits they share. */
  readonly bits: number;
}

/** Ranges that somebody may give: not more than a private network has, and not less than two addresses for guests. */
const IPV4_RANGE_BITS = { min: 8, max: 30 } as const;

/** Of somebody else's subnet we take the last part, a sixteenth of it and not more than 256 addresses. */
const PART_BITS = { more: 4, min: 24 } as const;

/** Reads "a.b.c.d/bits", where the address may be any of the range; undefined when it is none. */
export function parseIpv4Range(text: string): Ipv4Range | undefined {
  const [address = '', bitsText = '', ...rest] = text.split('/');
  const number = parseIpv4(address);
  if (number === undefined || rest.length > 0 || !/^\d{1,2}$/.test(bitsText)) return undefined;
  const bits = Number(bitsText);
  if (bits < IPV4_RANGE_BITS.min || bits > IPV4_RANGE_BITS.max) return undefined;
  return { first: number - (number % sizeOf(bits)), bits };
}

export function ipv4RangeText({ first, bits }: Ipv4Range): string {
  return `${ipv4Text(first)}/${bits}`;
}

/**
 * The part of a subnet in which addresses are given last when they are given in order, as Docker does. Undefined
 * when the subnet is too small for that.
 */
export function lastPart({ first, bits }: Ipv4Range): Ipv4Range | undefined {
  const partBits = Math.max(PART_BITS.min, bits + PART_BITS.more);
  if (partBits > IPV4_RANGE_BITS.max) return undefined;
  return { first: first + sizeOf(bits) - sizeOf(partBits), bits: partBits };
}

/**
 * The addresses of so many guests, in order; never the range's first and last, which may be the network's own name and
 * its broadcast address.
 *
 * @param taken addresses of others
 * @throws RangeError when the range has not so many
 */
export function guestAddresses(range: Ipv4Range, count: number, taken: readonly string[]): string[] {
  const addresses: string[] = [];
  const end = range.first + sizeOf(range.bits) - 1;
  for (let number = range.first + 1; number < end && addresses.length < count; number++) {
    const address = ipv4Text(number);
    if (!taken.includes(address)) addresses.push(address);
  }
  if (addresses.length === count) return addresses;
  throw new RangeError(
    `${ipv4RangeText(range)} has addresses for ${addresses.length} guests, and there are ${count}; ` +
      'give them a larger range with `clients: {addresses: ...}`',
  );
}

/** A uint32, or undefined. */
function parseIpv4(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part))) return undefined;
  const bytes = parts.map(Number);
  if (bytes.some((byte) => byte > 255)) return undefined;
  return Buffer.from(bytes).readUInt32BE();
}

function ipv4Text(number: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  return bytes.join('.');
}

function sizeOf(bits: number): number {
  return 2 ** (32 - bits);
}
