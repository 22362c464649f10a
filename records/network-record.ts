/** What was asked of a link and what a probe measured, in the form of the record. */

import type { LinkComparison } from '../proto/generated/godwit/v1/network.ts';
import type { LinkRecord } from './result-record.ts';

export function linkRecord(comparison: LinkComparison): LinkRecord {
  const { askedRateBytesPerS } = comparison;
  return {
    from: comparison.source,
    to: comparison.destination,
    asked_rate_bytes_per_s: askedRateBytesPerS === 0 ? null : askedRateBytesPerS,
    measured_rate_bytes_per_s: comparison.measuredRateBytesPerS,
    asked_round_trip_ms: comparison.askedRoundTripMs,
    measured_round_trip_ms: comparison.measuredRoundTripMs,
    differences: comparison.differences,
  };
}
