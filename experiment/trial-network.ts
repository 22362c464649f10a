/**
 * The links of a trial: gives the hosts their shapes before it, measures what they really carry, changes
 * them and breaks them while the guests move, and takes everything away afterwards. Asks all of it of the
 * coordinator, as people do.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { MigrationWindow } from '../proto/client-load.ts';
import { nowMs } from '../proto/clock.ts';
import { errorText } from '../proto/errors.ts';
import type { SourceReport } from '../proto/generated/godwit/v1/migration.ts';
import type { LinkFault, LinkShape } from '../proto/generated/godwit/v1/network.ts';
import { type ShapeChange, shapeAt } from '../proto/network-schedule.ts';
import { linkFaultName, NO_FAULT } from '../proto/network-shape.ts';
import { backgroundRecord } from '../records/background-record.ts';
import { carriedBytes, estimatesRecord, type RateStep } from '../records/estimates-record.ts';
import { linkRecord } from '../records/network-record.ts';
import type { NetworkRecord, TrialRecord } from '../records/result-record.ts';
import { type NetworkPlan, namedHosts, networkPlan } from '../spec/network-plan.ts';
import type { ResolvedSpec } from '../spec/resolve.ts';
import { bandwidth, duration, size } from '../spec/units.ts';
import { type AppliedChange, linkTruth } from './link-truth.ts';
import type { TestbedClient } from './testbed-client.ts';
import { TrialBackground } from './trial-background.ts';

/** Where the guests of a trial leave and arrive. */
interface MigrationWay {
  readonly from: string;
  readonly to: string;
}

/** Something to be done to a host's NIC at a time after the migration's start. */
interface Action {
  readonly atMs: number;
  readonly host: string;
  /** For people: "egress rate 20mbit", "cut". */
  readonly what: string;
  readonly run: () => Promise<void>;
}

export class TrialNetwork {
  readonly #client: TestbedClient;
  readonly #plan: NetworkPlan;
  readonly #way: MigrationWay;
  readonly #background: TrialBackground | undefined;
  readonly #applied: AppliedChange[] = [];
  readonly #record: NetworkRecord = { links: [], changes: [] };
  readonly #stop = new AbortController();
  #driving: Promise<void> = Promise.resolve();
  #problem: string | undefined;

  private constructor(
    client: TestbedClient,
    plan: NetworkPlan,
    way: MigrationWay,
    background: TrialBackground | undefined,
  ) {
    this.#client = client;
    this.#plan = plan;
    this.#way = way;
    this.#background = background;
  }

  /**
   * The links that a spec asks for, not yet shaped; undefined when it asks for none.
   *
   * @throws Error when it names hosts that the testbed does not have
   */
  static async of(
    { network, from, to }: ResolvedSpec,
    client: TestbedClient,
  ): Promise<TrialNetwork | undefined> {
    const hosts = (await client.hosts()).filter(({ alive }) => alive).map(({ host }) => host);
    const plan = networkPlan(network, hosts);
    if (plan === undefined) return undefined;
    const named = [...namedHosts(network).map(([, host]) => host), from, to];
    const missing = named.filter((host) => !hosts.includes(host));
    if (missing.length === 0) {
      const way = { from, to };
      return new TrialNetwork(client, plan, way, backgroundOf(network.background, way));
    }
    throw new Error(
      `the spec's links need ${[...new Set(missing)].join(', ')}, and the testbed has ` +
        `${hosts.join(', ') || 'no host'}; ` +
        'start hosts of these names, or name those that there are',
    );
  }

  /** What was asked for, measured and done so far. */
  get record(): NetworkRecord {
    return this.#record;
  }

  /** Gives every host its shape. */
  async shape(): Promise<void> {
    for (const [host, { shape }] of this.#plan.hosts) {
      await this.#client.setNetwork(host, shape, this.#hasFaults);
    }
  }

  /** The traffic besides the migrations, if there is to be any. @throws Error when it does not come to pass */
  async startBackground(signal: AbortSignal): Promise<void> {
    await this.#background?.start(this.#client, signal);
  }

  /** What the source believed of the link, and what became of other traffic. @param window by this machine's clock */
  fieldsOf(
    source: SourceReport | undefined,
    window: MigrationWindow,
  ): Pick<TrialRecord, 'estimates' | 'background'> {
    if (source === undefined) return { estimates: null, background: null };
    const offsetMs = source.acceptedAtMs - window.fromMs;
    const truth = this.#hasFaults
      ? []
      : this.#truth().map((step) => ({ ...step, atMs: step.atMs + offsetMs }));
    const { setupDoneAtMs, pauseRequestedAtMs, precopyBytes } = source;
    const durationMs = Math.max(pauseRequestedAtMs - setupDoneAtMs, 0);
    const restBytes = carriedBytes(truth, setupDoneAtMs, pauseRequestedAtMs);
    const facts = this.#background?.facts(window);
    const sent = { sentBytes: Number(precopyBytes), durationMs };
    return {
      // What the link gives the migration besides other traffic depends on who gives way.
      estimates: estimatesRecord(source, this.#background === undefined ? truth : []),
      background: facts === undefined ? null : backgroundRecord(facts, sent, restBytes),
    };
  }

  #truth(): RateStep[] {
    return linkTruth(this.#plan.hosts, this.#applied, this.#way, this.#background?.traffic);
  }

  async probe(from: string, to: string): Promise<void> {
    this.#record.links.push(linkRecord(await this.#client.probe(from, to)));
  }

  /**
   * The migration begins now: what the schedule and the faults say is done from here on, each at its time.
   */
  start(): void {
    const startMs = performance.now();
    const actions = [...this.#changes(), ...this.#faults()].sort((a, b) => a.atMs - b.atMs);
    this.#driving = this.#drive(actions, startMs).catch((error: unknown) => {
      this.#problem = errorText(error);
    });
  }

  /** The trial has ended. @returns what went wrong with the traffic besides the migrations, or undefined */
  async endBackground(): Promise<string | undefined> {
    return await this.#background?.end();
  }

  /**
   * The migration has ended: what is not yet due is left out, and faults end.
   *
   * @returns what could not be done, or undefined
   */
  async end(): Promise<string | undefined> {
    this.#stop.abort();
    await this.#driving;
    if (this.#hasFaults) {
      for (const host of new Set(this.#plan.faults.map((fault) => fault.host))) {
        // A host that is gone has no fault any more.
        await this.#client.setLinkFault(host, NO_FAULT).catch(() => {});
      }
    }
    return this.#problem;
  }

  /** Takes all shapes away. A host that is gone has none. */
  async clear(): Promise<void> {
    await this.#background?.end();
    for (const host of this.#plan.hosts.keys()) {
      await this.#client.setLinkFault(host, NO_FAULT).catch(() => {});
      await this.#client.setNetwork(host, undefined, false).catch(() => {});
    }
  }

  get #hasFaults(): boolean {
    return this.#plan.faults.length > 0;
  }

  async #drive(actions: readonly Action[], startMs: number): Promise<void> {
    const { signal } = this.#stop;
    for (const { atMs, host, what, run } of actions) {
      // A timer may come a little early, by the clock that is read here.
      for (let waitMs = atMs; waitMs > 0; ) {
        waitMs = atMs - (performance.now() - startMs);
        if (waitMs > 0) await sleep(Math.ceil(waitMs), undefined, { signal }).catch(() => {});
        if (signal.aborted) return;
      }
      await run();
      this.#applied.push({ host, plannedMs: atMs, appliedAtMs: nowMs() });
      this.#record.changes.push({ host, what, at_ms: atMs, applied_at_ms: performance.now() - startMs });
    }
  }

  #changes(): Action[] {
    return [...this.#plan.hosts].flatMap(([host, { shape, changes }]) => {
      const times = [...new Set(changes.map(({ atMs }) => atMs))];
      return times.map((atMs) => ({
        atMs,
        host,
        what: changes
          .filter((change) => change.atMs === atMs)
          .map(changeText)
          .join(', '),
        run: () => this.#client.setNetwork(host, shapeAt(shape, changes, atMs), this.#hasFaults),
      }));
    });
  }

  #faults(): Action[] {
    return this.#plan.faults.flatMap(({ atMs, untilMs, host, fault }) => {
      const set = (atMs: number, what: string, value: LinkFault): Action => ({
        atMs,
        host,
        what,
        run: () => this.#client.setLinkFault(host, value),
      });
      const begin = set(atMs, faultText(fault), fault);
      return untilMs === undefined ? [begin] : [begin, set(untilMs, `end of ${faultText(fault)}`, NO_FAULT)];
    });
  }
}

/** What a spec says of other traffic; where it does not, it takes the guests' way. */
function backgroundOf(
  section: ResolvedSpec['network']['background'],
  { from, to }: MigrationWay,
): TrialBackground | undefined {
  if (section === undefined) return undefined;
  return new TrialBackground({
    from: section.from ?? from,
    to: section.to ?? to,
    rateBytesPerS: section.rate,
  });
}

function faultText({ kind, durationMs, peer }: LinkFault): string {
  const time = durationMs > 0 ? ` for ${duration.format(durationMs)}` : '';
  return `${linkFaultName(kind)}${time}${peer === '' ? '' : `, traffic with ${peer}`}`;
}

/** What of a link's shape changes over time. */
type ChangingField = Exclude<keyof LinkShape, 'fifo'>;

const FIELD_TEXTS: { readonly [Field in ChangingField]: (value: number) => string } = {
  rateBytesPerS: (value) => `rate ${bandwidth.format(value)}`,
  delayMs: (value) => `delay ${duration.format(value)}`,
  jitterMs: (value) => `jitter ${duration.format(value)}`,
  loss: (value) => `loss ${value}`,
  burstBytes: (value) => `burst ${size.format(value)}`,
  queueBytes: (value) => `queue ${size.format(value)}`,
};

function changeText({ direction, peer, link }: ShapeChange): string {
  const fields = Object.entries(link) as [ChangingField, number][];
  const where = [direction, peer === undefined ? undefined : `to ${peer}`].filter(
    (word) => word !== undefined,
  );
  return [...where, ...fields.map(([field, value]) => FIELD_TEXTS[field](value))].join(' ');
}
