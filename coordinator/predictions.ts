/**
 * Predicts migrations: has the source probe the guest and the link to the destination, and reckons from that what each
 * technique would take (predict/). It learns from each predicted migration that has ended.
 */

import { type Calibration, firstCalibration } from '../predict/calibration.ts';
import { choose, predictAll } from '../predict/choose.ts';
import { taught } from '../predict/lesson.ts';
import { type GuestAndLink, type LinkFound, linkFrom, probedFrom } from '../predict/probed.ts';
import { DEFAULT_GOAL } from '../proto/convergence.ts';
import { DIRTY_RATE_LIMITS } from '../proto/dirty-rate.ts';
import { RpcError } from '../proto/errors.ts';
import { DirtyRateMode } from '../proto/generated/godwit/v1/dirty_rate.ts';
import type { MigrationOptions, MigrationReport } from '../proto/generated/godwit/v1/migration.ts';
import type { ProbeResult } from '../proto/generated/godwit/v1/network.ts';
import type { Prediction } from '../proto/generated/godwit/v1/prediction.ts';
import { AUTO } from '../proto/names.ts';
import type { Clock } from './clock.ts';
import type { HostClients } from './host-clients.ts';
import type { Networks } from './networks.ts';
import type { GuestRecord } from './ownership-store.ts';
import type { KnownHost } from './registry.ts';

/** The link is filled so often, each time for so long behind a warm-up of some round trips. */
const LINK_PROBES = 3;
const LINK_PROBE_MS = 90;
const ROUND_TRIPS = 5;
const WARM_UP = { ms: 20, roundTrips: 8, msMax: 400 } as const;
/** The guest is watched for as long as its first round will take, within these bounds. */
const GUEST_PROBE_MS = { min: 100, max: 480 } as const;
const MS_PER_S = 1000;

export interface PredictionsModules {
  readonly clock: Clock;
  readonly hosts: HostClients;
  readonly networks: Networks;
}

/** What is to be moved, and between which hosts. */
export interface Move {
  readonly guest: string;
  readonly record: GuestRecord;
  readonly source: KnownHost;
  readonly destination: KnownHost;
  readonly options: MigrationOptions;
}

/** A prediction, and the options that the migration is to have: as they were asked for, or chosen. */
export interface Predicted {
  readonly prediction: Prediction;
  readonly options: MigrationOptions;
}

export class Predictions {
  readonly #modules: PredictionsModules;
  #calibration: Calibration = firstCalibration();

  constructor(modules: PredictionsModules) {
    this.#modules = modules;
  }

  /**
   * @throws RpcError when the guest or the link cannot be probed, and why
   */
  async predict(move: Move, signal: AbortSignal): Promise<Predicted> {
    const { options } = move;
    const { probed, basis } = probedFrom(await this.#probe(move, signal));
    const calibration = this.#calibration;
    if (options.technique !== AUTO) {
      const candidates = predictAll(probed, options, calibration);
      const techniques = candidates.map(({ prediction }) => prediction);
      return { prediction: { basis, techniques, reason: '', meetsGoal: false }, options };
    }
    const goal = options.goal ?? DEFAULT_GOAL;
    const { candidates, chosen, reason, meetsGoal } = choose(probed, options, goal, calibration);
    const techniques = candidates.map(({ prediction }) => prediction);
    return {
      prediction: { basis, techniques, chosen, reason, meetsGoal },
      options: candidates[chosen]!.options,
    };
  }

  /** A migration has ended. */
  learn(report: MigrationReport): void {
    this.#calibration = taught(this.#calibration, report);
  }

  async #probe(move: Move, signal: AbortSignal): Promise<GuestAndLink> {
    const { clock, hosts } = this.#modules;
    const { guest, record, source } = move;
    const { spec } = record;
    const startMs = clock.nowMs();
    const link = await this.#probeLink(move);
    signal.throwIfAborted();
    const firstRoundMs = (Number(spec.memoryBytes) / link.bytesPerS) * MS_PER_S;
    const { min, max } = GUEST_PROBE_MS;
    const calcTimeMs = Math.max(min, DIRTY_RATE_LIMITS.calcTimeMsMin, Math.min(max, firstRoundMs));
    const asked = { mode: DirtyRateMode.DIRTY_RATE_MODE_WORKING_SET, calcTimeMs, samplePages: 0 };
    const dirtyRate = await hosts.measureDirtyRate(source.address, guest, asked, signal);
    if (dirtyRate === undefined)
      throw new RpcError('INTERNAL', `${source.host} probed the guest and did not say what it found`);
    return { spec, dirtyRate, link, probeMs: clock.nowMs() - startMs };
  }

  async #probeLink({ source, destination }: Move): Promise<LinkFound> {
    const ends = { source: source.host, destination: destination.host };
    const probe = async (roundTripCount: number, warmUpMs: number, measureMs: number) => {
      const asked = { ...ends, roundTripCount, warmUpMs, measureMs };
      const { result } = await this.#modules.networks.probe(asked);
      if (result !== undefined) return result;
      throw new RpcError('INTERNAL', `${source.host} probed the link and did not say what it found`);
    };
    const roundTrips = await probe(ROUND_TRIPS, 0, 0);
    const { ms, roundTrips: trips, msMax } = WARM_UP;
    const warmUpMs = Math.min(msMax, ms + trips * roundTrips.roundTripMinMs);
    const rates: ProbeResult[] = [];
    for (let time = 0; time < LINK_PROBES; time++) rates.push(await probe(0, warmUpMs, LINK_PROBE_MS));
    return linkFrom(roundTrips, rates);
  }
}
