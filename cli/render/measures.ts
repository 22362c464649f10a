/**
 * Measured values for people's eyes: three digits or so, with a unit. For exact values see --json and
 * results.json.
 */

const KIBIBYTE = 1024;
const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

const BIT_UNITS = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s'] as const;

/** What stands where nothing is known. */
export const UNKNOWN = '-';

/** Three digits, but all digits before the point. */
function digits(value: number): string {
  if (value >= 99.95) return value.toFixed(0);
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}

export function bytesText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < BYTE_UNITS.length - 1) {
    value /= KIBIBYTE;
    unit++;
  }
  return `${unit === 0 ? value.toFixed(0) : digits(value)} ${BYTE_UNITS[unit]}`;
}

/** A rate in bits, as networks have them. */
export function bitsText(bytesPerS: number): string {
  let value = bytesPerS * 8;
  let unit = 0;
  while (value >= 999.5 && unit < BIT_UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value.toFixed(0) : digits(value)} ${BIT_UNITS[unit]}`;
}

export function durationText(ms: number): string {
  if (ms < 1000) return `${digits(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 120) return `${digits(seconds)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

export function countText(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}

export function percentText(percent: number): string {
  return `${percent.toFixed(1)} %`;
}

/** The text of a value that may be unknown. */
export function orUnknown<Value>(value: Value | null | undefined, text: (value: Value) => string): string {
  return value === null || value === undefined ? UNKNOWN : text(value);
}
