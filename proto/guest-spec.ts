/**
 * What a GuestSpec may say: the limits, in one place, and what is wrong with one. The experiment spec, the
 * coordinator and the hosts all ask here, so that none accepts what another refuses. The workload's own
 * fields are checked by workloadProblems in workloads/registry.ts, by those who know workloads.
 */

import type { ContentModel, GuestSpec } from './generated/godwit/v1/guest.ts';
import { guestNetworkProblems, poolPageCount, workloadPageCount } from './guest-network.ts';
import { nameProblem } from './names.ts';
import { PAGE_BYTES } from './page.ts';

const MEBIBYTE = 1024 * 1024;

export const GUEST_LIMITS = {
  memoryBytesMin: MEBIBYTE,
  memoryBytesMax: 16 * 1024 * MEBIBYTE,
  vcpuCountMin: 1,
  vcpuCountMax: 8,
  deviceStateBytesMax: 64 * MEBIBYTE,
  /** A workload has some pages, too. */
  freeShareMax: 0.95,
  /** More than a vCPU can fill. */
  freeChurnPagesPerSMax: 1_000_000,
} as const;

/** The shares of a ContentModel that divide the pages among themselves: together at most 1. */
export const PAGE_SHARES = ['zero', 'duplicate', 'shared'] as const;

/** Shares such as 0.1 + 0.2 + 0.7 may miss 1 by the rounding of doubles. */
const SHARE_ROUNDING = 1e-9;

/** Whether the shares of the pages leave no more than all pages. */
export function pageSharesFit(content: Pick<ContentModel, (typeof PAGE_SHARES)[number]>): boolean {
  return content.zero + content.duplicate + content.shared <= 1 + SHARE_ROUNDING;
}

/** Everything that is wrong with a guest's spec but its workload, as sentences; empty when it can be made. */
export function guestSpecProblems(spec: GuestSpec): string[] {
  const problems: string[] = [];
  const name = nameProblem(spec.name);
  if (name !== undefined) problems.push(`guest name: ${name}`);
  const { memoryBytesMin, memoryBytesMax, vcpuCountMin, vcpuCountMax, deviceStateBytesMax } = GUEST_LIMITS;
  const memory = spec.memoryBytes;
  if (memory < memoryBytesMin || memory > memoryBytesMax || memory % BigInt(PAGE_BYTES) !== 0n) {
    problems.push(
      `memory is ${memory} bytes; allowed is a multiple of ${PAGE_BYTES} bytes from 1 MiB to 16 GiB`,
    );
  }
  if (!(spec.vcpuCount >= vcpuCountMin && spec.vcpuCount <= vcpuCountMax)) {
    problems.push(`vcpu count is ${spec.vcpuCount}; allowed is ${vcpuCountMin} to ${vcpuCountMax}`);
  }
  if (spec.deviceStateBytes > deviceStateBytesMax) {
    problems.push(`device state is ${spec.deviceStateBytes} bytes; allowed is at most 64 MiB`);
  }
  if (spec.content === undefined) problems.push('content is missing; send one, all shares 0 if need be');
  else problems.push(...contentProblems(spec.content));
  const hasFree = (spec.content?.free ?? 0) > 0;
  if (problems.length === 0 && hasFree && workloadPageCount(spec) < 1) {
    problems.push(
      `content free ${spec.content?.free} is ${poolPageCount(spec)} pages, which with the NIC's are all pages; ` +
        'leave some to the workload',
    );
  }
  if (spec.workload === undefined) problems.push('workload is missing; send one, of kind idle if need be');
  problems.push(...guestNetworkProblems(spec));
  return problems;
}

function contentProblems(content: ContentModel): string[] {
  const problems: string[] = [];
  for (const share of [...PAGE_SHARES, 'compressible'] as const) {
    const value = content[share];
    if (!(value >= 0 && value <= 1)) {
      problems.push(`content ${share} is ${value}; allowed is a share from 0 to 1`);
    }
  }
  const { imageBytes } = content;
  const isImage = imageBytes === undefined || (imageBytes > 0n && imageBytes % BigInt(PAGE_BYTES) === 0n);
  const { freeShareMax, freeChurnPagesPerSMax: churnMax } = GUEST_LIMITS;
  const { free = 0, freeChurnPagesPerS: churn = 0 } = content;
  if (!(free >= 0 && free <= freeShareMax)) {
    problems.push(`content free is ${free}; allowed is a share from 0 to ${freeShareMax}`);
  }
  if (!(churn >= 0 && churn <= churnMax)) {
    problems.push(`content free churn is ${churn} pages/s; allowed is 0 to ${churnMax} pages/s`);
  }
  if (!isImage) problems.push(`content image is ${imageBytes} bytes; allowed is a multiple of ${PAGE_BYTES}`);
  if (problems.length === 0 && !pageSharesFit(content)) {
    const { zero, duplicate, shared } = content;
    problems.push(
      `content zero ${zero}, duplicate ${duplicate} and shared ${shared} are more than all pages; ` +
        'together they may be at most 1',
    );
  }
  return problems;
}
