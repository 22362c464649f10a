/**
 * What the links of a trial really gave the migration, over time: by the shapes that its plan has, from the moments
 * at which they were applied, less what other traffic takes of them. Pure.
 */
import type { LinkShape, NetworkShape } from '../proto/generated/godwit/v1/network.ts';
import { shapeAt } from '../proto/network-schedule.ts';
import type { RateStep } from '../records/estimates-record.ts';
import type { HostPlan } from '../spec/network-plan.ts';
import type { BackgroundTraffic } from './trial-background.ts';

/** A change of the plan that a host has carried out. */
export interface AppliedChange {
  readonly host: string;
  /** Of the plan. */
  readonly plannedMs: number;
  /** By the clock of this machine. */
  readonly appliedAtMs: number;
}

/** @param applied in their order */
export function linkTruth(
  plans: ReadonlyMap<string, HostPlan>,
  applied: readonly AppliedChange[],
  { from, to }: { readonly from: string; readonly to: string },
  background: BackgroundTraffic | undefined,
): RateStep[] {
  const rateAt = (atMs: number): number | undefined => {
    const shapeOf = (host: string): NetworkShape | undefined => {
      const plan = plans.get(host);
      const last = applied.findLast((change) => change.host === host && change.appliedAtMs <= atMs);
      return plan && shapeAt(plan.shape, plan.changes, last?.plannedMs ?? Number.NEGATIVE_INFINITY);
    };
    const rates = linksOfWay(shapeOf(from), shapeOf(to), from, to).map(({ link, ends }) => {
      const rate = link?.rateBytesPerS ?? 0;
      const isShared = ends.from === background?.from || ends.to === background?.to;
      return rate === 0 ? Number.POSITIVE_INFINITY : rate - (isShared ? (background?.rateBytesPerS ?? 0) : 0);
    });
    const least = Math.max(Math.min(...rates), 0);
    return Number.isFinite(least) ? least : undefined;
  };
  const times = [Number.NEGATIVE_INFINITY, ...applied.map(({ appliedAtMs }) => appliedAtMs)];
  const steps = times.map((atMs) => ({ atMs, bytesPerS: rateAt(atMs) }));
  return steps.filter((step, index) => index === 0 || step.bytesPerS !== steps[index - 1]?.bytesPerS);
}

/** The links on the way, and whose traffic meets each: all that leaves a host, or all that comes to one. */
function linksOfWay(
  source: NetworkShape | undefined,
  destination: NetworkShape | undefined,
  from: string,
  to: string,
): { link: LinkShape | undefined; ends: { from?: string; to?: string } }[] {
  const peerOf = (shape: NetworkShape | undefined, peer: string) =>
    shape?.peers.find((one) => one.peer === peer);
  return [
    { link: source?.egress, ends: { from } },
    { link: peerOf(source, to)?.egress, ends: { from } },
    { link: destination?.ingress, ends: { to } },
    { link: peerOf(destination, from)?.ingress, ends: { to } },
  ];
}
