/**
 * Values with units, as people write them in a spec: sizes, times, bandwidths and rates. Each unit knows how
 * to parse a text, how to print a value so that parsing it gives the same value again, and how to say what
 * it allows.
 */

/** One kind of value with units. */
export interface Unit<Value> {
  /** What is allowed, as a noun with an example: "a size such as 256MiB". */
  readonly allowed: string;
  readonly examples: readonly string[];
  /** The value, or undefined when the text is none of this kind. */
  parse(text: string): Value | undefined;
  /** The shortest text that `parse` takes back to the same value. */
  format(value: Value): string;
}

export const UNLIMITED = 'unlimited';

const NUMBER_AND_SUFFIX = /^(\d+(?:\.\d+)?(?:e[+-]?\d+)?) *([a-zA-Z/]+)$/;

type Factors = Readonly<Record<string, number>>;

const BINARY_SIZES: Factors = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };
const DECIMAL_SIZES: Factors = { kB: 1e3, MB: 1e6, GB: 1e9 };

/** Bytes: binary and decimal prefixes, as IEC 80000-13 and the SI have them. */
const SIZES: Factors = { ...BINARY_SIZES, ...DECIMAL_SIZES, B: 1 };

/** Milliseconds. */
const TIMES: Factors = { us: 0.001, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Bytes per second: tc(8)'s names for bits per second, and sizes per second. */
const BANDWIDTHS: Factors = {
  bit: 1 / 8,
  kbit: 1e3 / 8,
  mbit: 1e6 / 8,
  gbit: 1e9 / 8,
  ...perSecond({ ...BINARY_SIZES, ...DECIMAL_SIZES }),
  'B/s': 1,
};

function perSecond(factors: Factors): Factors {
  return Object.fromEntries(Object.entries(factors).map(([suffix, factor]) => [`${suffix}/s`, factor]));
}

function parseWith(factors: Factors, text: string): number | undefined {
  const match = NUMBER_AND_SUFFIX.exec(text.trim());
  if (match === null) return undefined;
  const [, number, suffix] = match;
  if (!Object.hasOwn(factors, suffix!)) return undefined;
  const value = Number(number) * factors[suffix!]!;
  return Number.isFinite(value) ? value : undefined;
}

/**
 * The shortest exact text, one without a fraction if there is one. The unit whose factor is 1 is always
 * exact.
 */
function formatWith(factors: Factors, unit: Unit<number>, value: number): string {
  const exact = Object.entries(factors)
    .map(([suffix, factor]) => `${value / factor}${suffix}`)
    .filter((text) => unit.parse(text) === value);
  const whole = exact.filter((text) => /^\d+[a-zA-Z]/.test(text));
  const candidates = whole.length > 0 ? whole : exact;
  return candidates.reduce((shortest, text) => (text.length < shortest.length ? text : shortest));
}

/** Whole bytes. */
export const size: Unit<number> = {
  allowed: 'a size in B, KiB, MiB, GiB, kB, MB or GB such as 256MiB',
  examples: ['256MiB', '4KiB', '1GiB'],
  parse(text) {
    const bytes = parseWith(SIZES, text);
    if (bytes === undefined) return undefined;
    // 1.1MB is a whole number of bytes, although the product of the doubles may miss it by a little.
    const whole = Math.round(bytes);
    return Number.isSafeInteger(whole) && Math.abs(bytes - whole) < 1e-6 ? whole : undefined;
  },
  format: (bytes) => formatWith(SIZES, size, bytes),
};

/** Milliseconds. */
export const duration: Unit<number> = {
  allowed: 'a time in us, ms, s, m or h such as 20ms',
  examples: ['500us', '20ms', '1s', '2m'],
  parse: (text) => parseWith(TIMES, text),
  format: (ms) => formatWith(TIMES, duration, ms),
};

/** Bytes per second; 0 is unlimited. */
export const bandwidth: Unit<number> = {
  allowed: `a bandwidth in bit, kbit, mbit, gbit, KiB/s, MiB/s, MB/s ... such as 200mbit, or ${UNLIMITED}`,
  examples: ['1gbit', '200mbit', '64MiB/s', UNLIMITED],
  parse(text) {
    if (text.trim() === UNLIMITED) return 0;
    const bytesPerS = parseWith(BANDWIDTHS, text);
    // 0 would be taken for unlimited, which is the opposite of what it says.
    return bytesPerS === 0 ? undefined : bytesPerS;
  },
  format: (bytesPerS) => (bytesPerS === 0 ? UNLIMITED : formatWith(BANDWIDTHS, bandwidth, bytesPerS)),
};

/** How often something happens, and what: page writes or a workload's operations. */
export interface Rate {
  /** 0 means as fast as it can. */
  readonly perS: number;
  readonly of: 'pages' | 'ops';
}

const REQUEST_RATE = /^(\d+(?:\.\d+)?(?:e[+-]?\d+)?) *requests\/s$/;

/** Requests per second. */
export const requestRate: Unit<number> = {
  allowed: 'a rate in requests/s such as 1000 requests/s',
  examples: ['1000 requests/s', '50 requests/s'],
  parse(text) {
    const perS = Number(REQUEST_RATE.exec(text.trim())?.[1]);
    return Number.isFinite(perS) ? perS : undefined;
  },
  format: (perS) => `${perS} requests/s`,
};

const PAGE_RATE = /^(\d+(?:\.\d+)?(?:e[+-]?\d+)?) *pages\/s$/;

/** Pages per second. */
export const pageRate: Unit<number> = {
  allowed: 'a rate in pages/s such as 500 pages/s',
  examples: ['500 pages/s', '20000 pages/s'],
  parse(text) {
    const perS = Number(PAGE_RATE.exec(text.trim())?.[1]);
    return Number.isFinite(perS) ? perS : undefined;
  },
  format: (perS) => `${perS} pages/s`,
};

const RATE = /^(\d+(?:\.\d+)?(?:e[+-]?\d+)?) *(pages|ops)\/s$/;

/** A target rate; `unlimited` counts pages, since there is nothing to count towards. */
export const rate: Unit<Rate> = {
  allowed: `a rate in pages/s or ops/s such as 20000 pages/s, or ${UNLIMITED}`,
  examples: ['20000 pages/s', '500 ops/s', UNLIMITED],
  parse(text) {
    if (text.trim() === UNLIMITED) return { perS: 0, of: 'pages' };
    const match = RATE.exec(text.trim());
    if (match === null) return undefined;
    const perS = Number(match[1]);
    if (perS === 0 || !Number.isFinite(perS)) return undefined;
    return { perS, of: match[2] === 'ops' ? 'ops' : 'pages' };
  },
  format: ({ perS, of }) => (perS === 0 ? UNLIMITED : `${perS} ${of}/s`),
};
