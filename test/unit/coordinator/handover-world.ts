/**
 * A whole testbed in virtual time for one guest: the real witness, registry, admission and store, and model
 * hosts that keep to docs/ownership.md, with messages that are lost or late, hosts and a coordinator that
 * die, and lines that are cut. After every event it checks that at most one copy of the guest runs.
 * Everything follows from the seed.
 */
import type { Clock } from '../../../coordinator/clock.ts';
import { HostAdmission } from '../../../coordinator/host-admission.ts';
import type { HandoverQuestion } from '../../../coordinator/host-port.ts';
import { OwnershipStore } from '../../../coordinator/ownership-store.ts';
import { Registry } from '../../../coordinator/registry.ts';
import type { Standing } from '../../../coordinator/resolve-handover.ts';
import { Witness } from '../../../coordinator/witness.ts';
import { GuestState } from '../../../proto/generated/godwit/v1/guest.ts';
import { guestSpec } from './guest-specs.ts';
import { type Copy, ownedCopy } from './handover-copy.ts';

const LEASE_MS = 1_000;
const HEARTBEAT_MS = 300;
const CALL_DEADLINE_MS = 800;
const SILENCE_MS = 600;
const RETRY_MS = 150;
const GUEST = 'guest-1';

export interface WorldOptions {
  seed: number;
  /** Chaos ends after this time; then everything is healed and given time to settle. */
  chaosMs: number;
  hostsDie: boolean;
  /** The lease that the coordinator counts with, as a share of the one that it gives: 1 but to plant a fault. */
  leaseShare?: number;
  /** Plants a fault: a source that told the witness COMMITTED frees the guest all the same when it hears RESUMED. */
  forgetPledge?: boolean;
  /** Every other migration is a post-copy. */
  postCopy?: boolean;
  /** Plants a fault: a destination that lacks pages says READY, as if it had them. */
  hideLacking?: boolean;
}

export class World {
  readonly store = new OwnershipStore(':memory:');
  readonly hosts: ModelHost[];
  readonly options: WorldOptions;
  readonly trace: string[] = [];
  nowMs = 0;
  kills = 0;
  moves = 0;
  decisions = 0;
  coordinator: ModelCoordinator;
  readonly #events: { atMs: number; number: number; act: () => void }[] = [];
  #number = 0;
  #randomState: number;
  isChaos = true;

  constructor(options: WorldOptions) {
    this.options = options;
    this.#randomState = options.seed;
    this.coordinator = new ModelCoordinator(this);
    this.hosts = ['a', 'b', 'c'].map((name) => new ModelHost(this, name));
    this.store.createGuest(guestSpec(GUEST), 'a', 1n);
    this.hosts[0]!.copy = ownedCopy(1n);
  }

  /** Runs the chaos and the time of peace after it. @throws Error with the trace when a rule is broken. */
  async run(): Promise<void> {
    for (const host of this.hosts) host.start();
    this.#scheduleChaos();
    await this.#runUntil(this.options.chaosMs);
    this.isChaos = false;
    if (this.coordinator.isDead) this.coordinator = new ModelCoordinator(this);
    for (const host of this.hosts) {
      host.cutUntilMs = 0;
      if (host.isDead) host.restart();
    }
    await this.#runUntil(this.options.chaosMs + 30 * LEASE_MS);
    this.#checkEnd();
  }

  random(): number {
    this.#randomState = (this.#randomState + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#randomState ^ (this.#randomState >>> 15), 1 | this.#randomState);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  chance(share: number): boolean {
    return this.random() < share;
  }

  after(delayMs: number, act: () => void): void {
    this.#events.push({ atMs: this.nowMs + delayMs, number: this.#number++, act });
  }

  /** How long a message takes: mostly a few ms, in the chaos at times longer than a lease. */
  delayMs(): number {
    if (this.isChaos && this.chance(0.05)) return this.random() * 4 * LEASE_MS;
    return 1 + this.random() * 20;
  }

  note(text: string): void {
    this.trace.push(`${this.nowMs.toFixed(0)} ${text}`);
  }

  fail(rule: string): never {
    const lines = this.trace.slice(-60).join('\n');
    throw new Error(`${rule} (seed ${this.options.seed})\n${lines}`);
  }

  async #runUntil(endMs: number): Promise<void> {
    for (;;) {
      let next = 0;
      for (let index = 1; index < this.#events.length; index++) {
        const [event, best] = [this.#events[index]!, this.#events[next]!];
        if (event.atMs < best.atMs || (event.atMs === best.atMs && event.number < best.number)) next = index;
      }
      const event = this.#events[next];
      if (event === undefined || event.atMs > endMs) break;
      this.#events.splice(next, 1);
      this.nowMs = event.atMs;
      event.act();
      // Lets every continuation of this event run before virtual time goes on.
      await new Promise((resolve) => setImmediate(resolve));
      this.#checkRunners();
    }
    this.nowMs = endMs;
  }

  #checkRunners(): void {
    const runners = this.hosts.filter((host) => host.isRunning());
    if (runners.length > 1) this.fail(`the guest runs on ${runners.map(({ name }) => name).join(' and ')}`);
  }

  #checkEnd(): void {
    const record = this.store.guest(GUEST);
    if (record === undefined) this.fail('the record is gone');
    const runners = this.hosts.filter((host) => host.isRunning());
    const holders = this.hosts.filter((host) => host.hasWholeCopy());
    const describe = `record ${record.owner} ${record.epoch} ${record.handover?.migration ?? 'closed'}`;
    if (runners.length === 1) {
      if (record.handover !== undefined) this.fail(`the handover was never decided: ${describe}`);
      const { lacks } = runners[0]!.copy!;
      if (lacks !== '') this.fail(`the pages of ${lacks} never came: ${describe}`);
      if (record.owner !== runners[0]?.name) this.fail(`${runners[0]?.name} runs it, but ${describe}`);
      return;
    }
    if (holders.length > 0) this.fail(`nobody runs it, though ${holders[0]?.name} has it whole: ${describe}`);
    if (this.kills === 0) this.fail(`it is lost, though no host died: ${describe}`);
  }

  #scheduleChaos(): void {
    const again = (everyMs: number, act: () => void): void => {
      const next = (): void => {
        if (!this.isChaos) return;
        act();
        this.after(everyMs * (0.5 + this.random()), next);
      };
      this.after(everyMs * this.random(), next);
    };
    again(300, () => this.#startMove());
    again(1_500, () => {
      const host = this.#anyHost();
      host.cutUntilMs = this.nowMs + this.random() * 3 * LEASE_MS;
      this.note(`cut ${host.name} until ${host.cutUntilMs.toFixed(0)}`);
    });
    again(6_000, () => {
      if (this.coordinator.isDead) return;
      this.note('the coordinator dies');
      this.coordinator.isDead = true;
      this.after(this.random() * LEASE_MS, () => {
        if (this.coordinator.isDead) this.coordinator = new ModelCoordinator(this);
      });
    });
    if (this.options.hostsDie) again(5_000, () => this.#anyHost().die());
    again(200, () => this.coordinator.tick());
  }

  #startMove(): void {
    const record = this.store.guest(GUEST)!;
    const source = this.hosts.find(({ name }) => name === record.owner);
    const others = this.hosts.filter((host) => host !== source && host.copy === undefined && !host.isDead);
    const destination = others[Math.floor(this.random() * others.length)];
    if (record.handover === undefined && source !== undefined && destination !== undefined) {
      source.startMove(destination, `m${this.moves + 1}`);
    }
  }

  #anyHost(): ModelHost {
    return this.hosts[Math.floor(this.random() * this.hosts.length)]!;
  }
}

/** One life of the coordinator: the real parts over the world's store. What a dead one waits for never comes. */
class ModelCoordinator {
  isDead = false;
  readonly witness: Witness;
  readonly admission: HostAdmission;
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
    const { store, options } = world;
    const clock: Clock = {
      nowMs: () => world.nowMs,
      sleep: (ms) => new Promise((resolve) => world.after(ms, () => this.isDead || resolve())),
    };
    const events = {
      emit: (kind: string, subject: string, detail: string) => world.note(`${kind} ${subject} ${detail}`),
    };
    const leaseMs = LEASE_MS * (options.leaseShare ?? 1);
    const incarnations = store.incarnations();
    const registry = new Registry({ clock, events, leaseMs, formerLeaseMs: leaseMs, incarnations });
    const hostPort = {
      queryHandover: (address: string, question: HandoverQuestion) => this.#query(address, question),
      destroyGuest: (address: string) => {
        const host = world.hosts.find(({ name }) => `${name}:1` === address)!;
        return this.#toHost(host, () => host.destroy());
      },
    };
    this.witness = new Witness({ store, registry, hostPort, clock, events });
    this.admission = new HostAdmission({ registry, store, hostPort });
    world.note('a coordinator begins');
  }

  tick(): void {
    if (this.isDead) return;
    this.witness.resolveUnattended(() => false);
    void this.witness.pushDecisions();
  }

  #query(address: string, { migration, decidedOwner }: HandoverQuestion): Promise<Standing> {
    const host = this.#world.hosts.find(({ name }) => `${name}:1` === address)!;
    return this.#toHost(host, () => {
      if (decidedOwner !== '') host.obey(migration, decidedOwner);
      return host.standing(migration);
    });
  }

  #toHost<Answer>(host: ModelHost, ask: () => Answer): Promise<Answer> {
    return host
      .line(() => {
        if (host.isDead) throw new Error('connection refused');
        return ask();
      })
      .then(
        (answer) => (this.isDead ? new Promise<Answer>(() => {}) : answer),
        (error: unknown) => (this.isDead ? new Promise<Answer>(() => {}) : Promise.reject(error as Error)),
      );
  }
}

/** A host that keeps to docs/ownership.md, with the words that only compare-and-set changes. */
class ModelHost {
  readonly name: string;
  copy: Copy | undefined;
  isDead = false;
  cutUntilMs = 0;
  readonly #world: World;
  readonly #ended = new Map<string, Standing>();
  #incarnation = 1;
  #leaseUntilMs = 0;

  constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
  }

  start(): void {
    const incarnation = this.#incarnation;
    const beat = async (): Promise<void> => {
      while (this.#isLife(incarnation)) {
        await this.#heartbeat(incarnation).catch(() => {});
        await this.#sleep(HEARTBEAT_MS);
      }
    };
    void beat();
    this.#watchLease(incarnation);
  }

  die(): void {
    if (this.isDead) return;
    this.#world.note(`${this.name} dies with ${this.copy?.side ?? 'nothing'} ${this.copy?.word ?? ''}`);
    this.#world.kills++;
    this.isDead = true;
    this.copy = undefined;
    this.#world.after(this.#world.random() * 3 * LEASE_MS, () => this.isDead && this.restart());
  }

  restart(): void {
    this.isDead = false;
    this.#incarnation++;
    this.#leaseUntilMs = 0;
    this.#ended.clear();
    this.start();
  }

  isRunning(): boolean {
    const copy = this.copy;
    if (this.isDead || copy === undefined || copy.isParked || copy.isPaused || copy.isFailed) return false;
    const hasLease = this.#world.nowMs < this.#leaseUntilMs;
    if (copy.side === 'owned') return true;
    if (copy.side === 'destination') return copy.word === 'resumed' && hasLease;
    return (copy.word === 'none' || copy.word === 'kept') && (!copy.isBegun || hasLease);
  }

  hasWholeCopy(): boolean {
    if (this.isDead || this.copy === undefined) return false;
    const { side, word, lacks } = this.copy;
    if (lacks !== '' || word === 'serving') return false;
    return side !== 'destination' || word === 'ready' || word === 'resumed';
  }

  /** What it can say of a migration; see HandoverStanding. */
  standing(migration: string): Standing {
    const copy = this.copy;
    if (copy === undefined || copy.migration !== migration) return this.#ended.get(migration) ?? 'abandoned';
    if (copy.word === 'committed') copy.isPledged = true;
    if (copy.word === 'ready' && copy.lacks !== '' && !this.#world.options.hideLacking)
      return 'ready-lacking';
    if (copy.word === 'serving') return 'resumed';
    return copy.word === 'none' ? 'moving' : copy.word;
  }

  /** The witness's word. */
  obey(migration: string, owner: string): void {
    const copy = this.copy;
    if (copy?.migration !== migration || copy.side === 'owned') return;
    if (owner !== this.name) this.#handedOver(copy, `${owner} has it`);
    else this.#own(copy, copy.side === 'source' ? copy.epoch : copy.epoch + 1n);
  }

  /** A migration that has the guest in its hands lets nobody destroy it. */
  destroy(): void {
    if (this.copy?.word === 'serving') throw new Error('pages of it are served');
    this.discard('the coordinator said so');
  }

  discard(why: string): void {
    if (this.copy === undefined) return;
    this.#world.note(`${this.name} discards its copy (${this.copy.side} ${this.copy.word}): ${why}`);
    this.#ended.set(this.copy.migration, this.copy.side === 'source' ? 'resumed' : 'abandoned');
    this.copy = undefined;
  }

  startMove(destination: ModelHost, migration: string): void {
    const copy = this.copy;
    if (copy?.side !== 'owned' || copy.lacks !== '' || copy.isFailed || this.isDead) return;
    this.#world.moves++;
    this.#world.note(`${migration}: ${this.name} to ${destination.name}`);
    Object.assign(copy, { side: 'source', migration, word: 'none', isBegun: false, isPaused: false });
    copy.isLate = this.#world.options.postCopy === true && this.#world.chance(0.5);
    const lacks = copy.isLate ? migration : '';
    destination.copy = { ...ownedCopy(copy.epoch), side: 'destination', migration, lacks };
    if (copy.isLate) destination.#fetch(migration, this);
    destination.#awaitFinal(destination.copy);
    void this.#hand(copy, destination);
    if (this.#world.chance(0.2)) {
      this.#world.after(this.#world.random() * 100, () => this.#keep(copy, 'cancelled'));
    }
  }

  /** A call over the line between this host and the coordinator: late, lost on either way, or cut. */
  line<Answer>(act: () => Answer | Promise<Answer>): Promise<Answer> {
    const world = this.#world;
    return new Promise((resolve, reject) => {
      world.after(CALL_DEADLINE_MS, () => reject(new Error('no answer')));
      const pass = (then: () => void): void => {
        if (world.isChaos && world.chance(0.1)) return;
        world.after(world.delayMs(), () => {
          if (world.nowMs >= this.cutUntilMs) then();
        });
      };
      pass(() => {
        Promise.try(act).then(
          (answer) => pass(() => resolve(answer)),
          (error: unknown) => pass(() => reject(error instanceof Error ? error : new Error(String(error)))),
        );
      });
    });
  }

  #isLife(incarnation: number): boolean {
    return !this.isDead && this.#incarnation === incarnation;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#world.after(ms, resolve));
  }

  /** Data from this host to another: never twice, but maybe late or never; it may outlive its sender. */
  #send(copy: Copy, to: ModelHost, arrive: (copy: Copy) => void): void {
    const world = this.#world;
    if (world.isChaos && world.chance(0.08)) return;
    world.after(world.delayMs(), () => {
      if (!to.isDead && to.copy !== undefined && to.copy.migration === copy.migration) arrive(to.copy);
    });
  }

  #toCoordinator<Answer>(ask: (coordinator: ModelCoordinator) => Answer | Promise<Answer>): Promise<Answer> {
    return this.line(async () => {
      const { coordinator } = this.#world;
      if (coordinator.isDead) throw new Error('connection refused');
      const answer = await ask(coordinator);
      if (coordinator.isDead) throw new Error('connection dropped');
      return answer;
    });
  }

  async #heartbeat(incarnation: number): Promise<void> {
    const sentAtMs = this.#world.nowMs;
    const base = { host: this.name, incarnation: `${this.name}-${incarnation}`, guests: this.#held() };
    const isRenewed = await this.#toCoordinator(({ admission }) =>
      admission.heartbeat({ ...base, stats: undefined }),
    );
    if (isRenewed) this.#renew(incarnation, sentAtMs);
    else await this.#register(incarnation);
  }

  async #register(incarnation: number): Promise<void> {
    const sentAtMs = this.#world.nowMs;
    const request = {
      host: this.name,
      incarnation: `${this.name}-${incarnation}`,
      guests: this.#held(),
      address: `${this.name}:1`,
      capacityBytes: 1n << 30n,
    };
    await this.#toCoordinator(({ admission }) => admission.register(request));
    this.#renew(incarnation, sentAtMs);
  }

  #renew(incarnation: number, sentAtMs: number): void {
    if (!this.#isLife(incarnation)) return;
    this.#parkUnleased();
    this.#leaseUntilMs = Math.max(this.#leaseUntilMs, sentAtMs + LEASE_MS);
  }

  #watchLease(incarnation: number): void {
    if (!this.#isLife(incarnation)) return;
    this.#parkUnleased();
    this.#world.after(50, () => this.#watchLease(incarnation));
  }

  /** What is not settled stands still once the lease has ended, until the witness has spoken. */
  #parkUnleased(): void {
    const copy = this.copy;
    if (copy === undefined || copy.side === 'owned' || this.#world.nowMs < this.#leaseUntilMs) return;
    if (copy.word === 'serving') return;
    if (copy.word === 'resumed' || (copy.isBegun && copy.word !== 'committed')) copy.isParked = true;
  }

  #held() {
    const copy = this.copy;
    if (copy === undefined) return [];
    const { side, word, isParked, isFailed, epoch } = copy;
    const {
      GUEST_STATE_FAILED,
      GUEST_STATE_INCOMING,
      GUEST_STATE_HANDED_OVER,
      GUEST_STATE_PARKED,
      GUEST_STATE_RUNNING,
    } = GuestState;
    let state: GuestState = GUEST_STATE_RUNNING;
    if (isFailed) state = GUEST_STATE_FAILED;
    else if (isParked) state = GUEST_STATE_PARKED;
    else if (side === 'destination' && word !== 'resumed') state = GUEST_STATE_INCOMING;
    else if (word === 'committed' || word === 'serving') state = GUEST_STATE_HANDED_OVER;
    return [{ guest: GUEST, epoch, state, spec: undefined, migration: '', failure: '' }];
  }

  #own(copy: Copy, epoch: bigint): void {
    if (this.copy !== copy) return;
    this.#ended.set(copy.migration, copy.side === 'source' ? 'kept' : 'resumed');
    const { lacks, isFailed } = copy;
    this.copy = { ...ownedCopy(epoch), lacks, isFailed };
    this.#world.note(`${this.name} owns it at epoch ${epoch}`);
  }

  async #hand(copy: Copy, destination: ModelHost): Promise<void> {
    const { migration, epoch } = copy;
    const world = this.#world;
    const key = { guest: GUEST, epoch, migration };
    copy.isBegun = true;
    try {
      await this.#toCoordinator(({ witness }) => witness.beginHandover(key, this.name, destination.name));
    } catch (error) {
      this.#keep(copy, String(error).slice(0, 80));
      return;
    }
    if (this.copy !== copy || copy.word !== 'none' || this.isDead) return;
    copy.isPaused = true;
    world.after(SILENCE_MS, () => this.#keep(copy, 'no READY'));
    this.#send(copy, destination, (arrived) => {
      if (arrived.word !== 'none' || arrived.side !== 'destination') return;
      arrived.word = 'ready';
      world.after(SILENCE_MS, () => arrived.word === 'ready' && void destination.#resolve(arrived));
      destination.#send(arrived, this, (source) => this.#commit(source, destination));
    });
  }

  #commit(copy: Copy, destination: ModelHost): void {
    const world = this.#world;
    if (copy.side !== 'source' || copy.word !== 'none') return;
    copy.word = 'committed';
    world.note(`${copy.migration}: ${this.name} commits`);
    world.after(SILENCE_MS, () => this.copy === copy && void this.#resolve(copy));
    this.#send(copy, destination, (arrived) => {
      if (arrived.word !== 'ready') return;
      if (world.nowMs >= destination.#leaseUntilMs) {
        void destination.#resolve(arrived);
        return;
      }
      arrived.word = 'resumed';
      world.note(`${copy.migration}: ${destination.name} resumes`);
      void destination.#settle(arrived);
      destination.#send(arrived, this, (source) => {
        if (source.word !== 'committed') return;
        if (source.isPledged && !world.options.forgetPledge) source.word = 'resumed';
        else this.#handedOver(source, 'heard RESUMED');
      });
    });
  }

  /** Another host has the guest: frees it, or, past the commit point of a post-copy, serves the rest of its pages. */
  #handedOver(copy: Copy, why: string): void {
    const { word } = copy;
    const isCommitted = word === 'committed' || word === 'resumed' || word === 'serving';
    if (copy.side === 'source' && copy.isLate && isCommitted) copy.word = 'serving';
    else this.discard(why);
  }

  /**
   * The post-copy after it has resumed the guest, over a link that is at times down: until all its pages have come,
   * or the source has none of them any more.
   */
  #fetch(migration: string, source: ModelHost): void {
    const world = this.#world;
    world.after(RETRY_MS, () => {
      const { copy } = this;
      const pages =
        source.copy?.migration === migration && source.copy.side === 'source' ? source.copy : undefined;
      const isWanted = !this.isDead && copy?.lacks === migration;
      // The source frees what nobody comes back for.
      if (!isWanted && pages?.word === 'serving') source.discard('nobody lacks its pages');
      if (!isWanted && pages === undefined) return;
      const isResumed = isWanted && (copy.side === 'owned' || copy.word === 'resumed');
      if (isResumed && pages === undefined) copy.isFailed = true;
      else if (isResumed && pages?.word === 'serving' && world.chance(0.2)) copy.lacks = '';
      if (copy?.isFailed !== true) this.#fetch(migration, source);
    });
  }

  /** NONE to KEPT, if nothing was before. */
  #keep(copy: Copy, why: string): void {
    if (this.copy !== copy || copy.side !== 'source' || copy.word !== 'none' || this.isDead) return;
    this.#world.note(`${copy.migration}: ${this.name} keeps it: ${why}`);
    copy.word = 'kept';
    copy.isPaused = false;
    void this.#settle(copy);
  }

  #awaitFinal(copy: Copy): void {
    this.#world.after(4 * SILENCE_MS, () => {
      if (this.copy !== copy || copy.word !== 'none') return;
      copy.word = 'abandoned';
      this.discard('it never became whole');
    });
  }

  #settle(copy: Copy): Promise<void> {
    const key = { guest: GUEST, epoch: copy.epoch, migration: copy.migration };
    return this.#untilAnswered(copy, ({ witness }) => witness.settleHandover(key, this.name));
  }

  #resolve(copy: Copy): Promise<void> {
    const key = { guest: GUEST, epoch: copy.epoch, migration: copy.migration };
    return this.#untilAnswered(copy, ({ witness }) => witness.resolveHandover(key));
  }

  async #untilAnswered(
    copy: Copy,
    ask: (coordinator: ModelCoordinator) => { owner: string } | Promise<{ owner: string }>,
  ): Promise<void> {
    const incarnation = this.#incarnation;
    while (this.copy === copy && this.#isLife(incarnation)) {
      const answer = await this.#toCoordinator(ask).catch(() => undefined);
      if (this.copy !== copy || !this.#isLife(incarnation)) return;
      if (answer !== undefined && answer.owner !== '') {
        this.#world.decisions++;
        this.obey(copy.migration, answer.owner);
        return;
      }
      await this.#sleep(RETRY_MS);
    }
  }
}
