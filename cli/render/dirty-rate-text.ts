/** What a probe of a dirty rate found, for people: measured beside true, then what it cost. */

import { DIRTY_RATE_MODES } from '../../proto/dirty-rate.ts';
import type {
  DirtyRateCost,
  DirtyRateReport,
  DirtyRateTruth,
  PageSample,
  VcpuDirtyRate,
  WorkingSet,
} from '../../proto/generated/godwit/v1/dirty_rate.ts';
import { bytesText, countText, durationText, orUnknown, percentText } from './measures.ts';
import { tableText } from './table.ts';

export function dirtyRateText(guest: string, report: DirtyRateReport): string {
  const { mode, calcTimeMs, pageCount, truth, cost, pageSample, vcpus, workingSet } = report;
  const heads = [`${guest}: ${DIRTY_RATE_MODES.nameOf(mode)}`, 'DIRTY PAGES', 'PAGES/S', 'RATE'];
  const rows = [rateRow('measured', report.dirtyPages, report.pagesPerS, report)];
  if (truth !== undefined) rows.push(rateRow('truth', Number(truth.dirtyPages), truth.pagesPerS, report));
  return [
    tableText(heads, rows, 1),
    ...(truth === undefined ? [] : [truthText(truth)]),
    ...(pageSample === undefined ? [] : [sampleText(pageSample)]),
    `watched for ${durationText(calcTimeMs)}, ${countText(Number(pageCount))} pages`,
    ...(cost === undefined ? [] : [costText(cost)]),
    ...(vcpus.length === 0 ? [] : ['', vcpuText(vcpus)]),
    ...(workingSet === undefined ? [] : ['', workingSetText(workingSet)]),
  ].join('\n');
}

function rateRow(
  name: string,
  pages: number,
  pagesPerS: number,
  { bytesPerS, pagesPerS: measuredPerS }: DirtyRateReport,
): string[] {
  const pageBytes = measuredPerS === 0 ? 0 : bytesPerS / measuredPerS;
  return [name, countText(pages), countText(pagesPerS), `${bytesText(pagesPerS * pageBytes)}/s`];
}

function truthText({ errorPercent, pageWrites, edgeWrites }: DirtyRateTruth): string {
  const error = orUnknown(errorPercent, signedPercent);
  const edges = `${countText(Number(edgeWrites))} of them while the watching began and ended`;
  return `error: ${error}; ${countText(Number(pageWrites))} page writes in all, ${edges}`;
}

function sampleText({ sampledPages, changedPages, dirtyPagesLow, dirtyPagesHigh }: PageSample): string {
  const range = `${countText(dirtyPagesLow)} to ${countText(dirtyPagesHigh)}`;
  return `${changedPages} of ${sampledPages} sampled pages changed, which leaves room for ${range} dirty pages (95 %)`;
}

function costText({ operationsPerS, operationsPerSBefore, lostPercent, ...cost }: DirtyRateCost): string {
  const before =
    operationsPerSBefore === undefined || lostPercent === undefined
      ? ''
      : `, before ${countText(operationsPerSBefore)} (${signedPercent(-lostPercent)})`;
  return (
    `cost: the guest did ${countText(operationsPerS)} operations/s${before}; ` +
    `${countText(Number(cost.writeFaults))} write faults; ${durationText(cost.probeCpuMs)} of processor time`
  );
}

function vcpuText(vcpus: readonly VcpuDirtyRate[]): string {
  const rows = vcpus.map(({ vcpu, dirtyPages, pagesPerS, bytesPerS, trueDirtyPages }) => [
    `vCPU ${vcpu}`,
    countText(Number(dirtyPages)),
    countText(pagesPerS),
    `${bytesText(bytesPerS)}/s`,
    countText(Number(trueDirtyPages)),
  ]);
  return tableText(['', 'FIRST TO WRITE', 'PAGES/S', 'RATE', 'PAGES WRITTEN'], rows, 1);
}

function workingSetText({ windows, accessedPages, content }: WorkingSet): string {
  const rows = windows.map(({ ms, dirtyPages, trueDirtyPages, windowCount }) => [
    durationText(ms),
    countText(dirtyPages),
    countText(trueDirtyPages),
    String(windowCount),
  ]);
  const lines = [
    tableText(['WRITTEN WITHIN', 'PAGES', 'TRUTH', 'WINDOWS'], rows, 1),
    `read or written: ${countText(Number(accessedPages))} pages`,
  ];
  if (content !== undefined) {
    const { pages, zeroPages, compressedShare } = content;
    const rest = orUnknown(compressedShare, (share) => percentText(share * 100));
    lines.push(
      `of ${countText(pages)} pages at random ${percentText((zeroPages / pages) * 100)} are zero; ` +
        `lz4 leaves ${rest} of the others`,
    );
  }
  return lines.join('\n');
}

function signedPercent(percent: number): string {
  return `${percent > 0 ? '+' : ''}${percent.toFixed(Math.abs(percent) < 1 ? 2 : 1)} %`;
}
