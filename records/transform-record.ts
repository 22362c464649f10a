/** What a trial's record says about the transforms: what each saved, and what it cost on both hosts. */

import type {
  DestinationReport,
  SourceReport,
  TransformReport,
} from '../proto/generated/godwit/v1/migration.ts';
import type { TransformRecord } from './result-record.ts';

/** One for each transform that was asked for, in their order; null when the source did not live to tell. */
export function transformRecords(
  source: SourceReport | undefined,
  destination: DestinationReport | undefined,
): TransformRecord[] | null {
  if (source === undefined) return null;
  return source.transforms.map((report) => {
    return record(
      report,
      destination?.transforms.find(({ name }) => name === report.name),
    );
  });
}

function record(report: TransformReport, undone: TransformReport | undefined): TransformRecord {
  const bytesIn = Number(report.bytesIn);
  const bytesOut = Number(report.bytesOut);
  return {
    name: report.name,
    variant: report.variant === '' ? null : report.variant,
    pages_in: Number(report.pagesIn),
    bytes_in: bytesIn,
    bytes_out: bytesOut,
    ratio: bytesIn === 0 ? null : bytesOut / bytesIn,
    hits: Number(report.hits),
    misses: Number(report.misses),
    overflows: Number(report.overflows),
    cache_bytes: Number(report.cacheBytes),
    cpu_s: report.cpuS,
    time_ms: report.timeMs,
    destination_cpu_s: undone?.cpuS ?? null,
    destination_time_ms: undone?.timeMs ?? null,
    codecs: report.codecs.map(({ codec, batches, bytesIn, bytesOut, cpuS }) => ({
      codec,
      batches: Number(batches),
      bytes_in: Number(bytesIn),
      bytes_out: Number(bytesOut),
      cpu_s: cpuS,
    })),
  };
}
