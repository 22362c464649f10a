/**
 * How a migration is reported whose guest runs at the destination while its pages may still be on their way: as
 * completed only when somebody says that all of them came. The coordinator's real parts, and two hosts that are
 * played: what the source says last, and what the destination says each time when it is asked.
 */
import { afterEach, expect, test } from 'vitest';
import type { Clock } from '../../../coordinator/clock.ts';
import { EventLog } from '../../../coordinator/events.ts';
import { GuestWatch } from '../../../coordinator/guest-watch.ts';
import { HostClients } from '../../../coordinator/host-clients.ts';
import { Migration } from '../../../coordinator/migration.ts';
import { Networks } from '../../../coordinator/networks.ts';
import { OwnershipStore } from '../../../coordinator/ownership-store.ts';
import { Placement } from '../../../coordinator/placement.ts';
import { Predictions } from '../../../coordinator/predictions.ts';
import { Registry } from '../../../coordinator/registry.ts';
import { Witness } from '../../../coordinator/witness.ts';
import { errorText, RpcError } from '../../../proto/errors.ts';
import {
  HostServiceGetGuestStatsResponse,
  HostServiceGetIncomingResponse,
  type HostServiceStartMigrationRequest,
  HostServiceStartMigrationResponse,
  SourceListening,
  SourceOutcome,
  type Ticket,
} from '../../../proto/generated/godwit/v1/host.ts';
import {
  MigrationPhase,
  MigrationProgress,
  type MigrationReport,
  PostcopyArrival,
} from '../../../proto/generated/godwit/v1/migration.ts';
import { defaultMigrationOptions } from '../../../proto/migration-options.ts';
import { AUTO } from '../../../proto/names.ts';
import type { MessageStream } from '../../../proto/rpc.ts';
import { guestSpec } from './guest-specs.ts';

const {
  MIGRATION_PHASE_COMPLETED: completed,
  MIGRATION_PHASE_FAILED: failed,
  MIGRATION_PHASE_CANCELLED: cancelled,
} = MigrationPhase;
const LEASE_MS = 600_000;
const LAST_ASKED_MAX = 10;

const stores: OwnershipStore[] = [];
afterEach(() => {
  for (const store of stores.splice(0)) store.close();
});

/** What the source says last, or why its line breaks. */
type LastWord = { phase: MigrationPhase; reason: string } | RpcError;
type Answer = HostServiceGetIncomingResponse | RpcError;

class PlayedHosts extends HostClients {
  asked = 0;
  /** The source waits for this before it hands the guest over, if it is told to. */
  readonly #switched = Promise.withResolvers<void>();
  ticket: Ticket | undefined;
  readonly #lastWord: LastWord;
  readonly #answers: Answer[];
  readonly #handOver: (migration: string) => void;
  /** Whether the migration is switched by hand, and what the source answers to that. */
  isSwitched = false;
  switchAnswer: RpcError | undefined;

  constructor(lastWord: LastWord, answers: Answer[], handOver: (migration: string) => void) {
    super();
    this.#lastWord = lastWord;
    this.#answers = answers;
    this.#handOver = handOver;
  }

  override startMigration(_: string, { migration, ticket }: HostServiceStartMigrationRequest) {
    this.ticket = ticket;
    return {
      cancel: () => {},
      [Symbol.asyncIterator]: () => this.#move(migration),
    } satisfies MessageStream<HostServiceStartMigrationResponse>;
  }

  override async switchMigration(): Promise<void> {
    this.#switched.resolve();
    if (this.switchAnswer !== undefined) throw this.switchAnswer;
  }

  /** Why the destination does not take part: the source has the guest, and its last word when it heard of that. */
  refusal: RpcError | undefined;

  override async prepareIncoming(): Promise<void> {
    if (this.refusal !== undefined) throw this.refusal;
  }

  async *#move(migration: string): AsyncGenerator<HostServiceStartMigrationResponse> {
    if (this.refusal !== undefined) {
      const value = SourceListening.create();
      yield HostServiceStartMigrationResponse.create({ event: { $case: 'listening', value } });
      await this.#told.promise;
      yield this.#outcome();
      return;
    }
    const value = MigrationProgress.fromPartial({ phase: MigrationPhase.MIGRATION_PHASE_ACTIVE });
    yield HostServiceStartMigrationResponse.create({ event: { $case: 'progress', value } });
    if (this.isSwitched) await this.#switched.promise;
    this.#handOver(migration);
    if (this.arrivals.length > 0) {
      const serving = MigrationProgress.fromPartial({
        phase: MigrationPhase.MIGRATION_PHASE_POSTCOPY_PAUSED,
      });
      yield HostServiceStartMigrationResponse.create({ event: { $case: 'progress', value: serving } });
      this.toldSource = await this.#told.promise;
    }
    yield this.#outcome();
  }

  #outcome(): HostServiceStartMigrationResponse {
    if (this.#lastWord instanceof RpcError) throw this.#lastWord;
    const value = SourceOutcome.fromPartial(this.#lastWord);
    return HostServiceStartMigrationResponse.create({ event: { $case: 'outcome', value } });
  }

  /** What the destination says of its guest, each time that it is asked; and what the source is told of it then. */
  arrivals: (PostcopyArrival | undefined)[] = [];
  lastAsked = 0;
  toldSource = '';
  readonly #told = Promise.withResolvers<string>();

  override async arrival(): Promise<PostcopyArrival | undefined> {
    const [arrival, ...others] = this.arrivals;
    if (others.length > 0) this.arrivals = others;
    // Virtual time: without a word it would be asked for ever.
    else if (++this.lastAsked > LAST_ASKED_MAX) this.#told.resolve('nothing');
    return arrival;
  }

  override async cancelMigration(host: string, _: string, reason: string, guestGone = false): Promise<void> {
    if (guestGone || this.refusal !== undefined) this.#told.resolve(`${host}: ${reason}`);
  }

  override async guestStats() {
    return HostServiceGetGuestStatsResponse.create();
  }

  override async getIncoming(): Promise<HostServiceGetIncomingResponse> {
    this.asked++;
    const answer = this.#answers.length > 1 ? this.#answers.shift()! : this.#answers[0]!;
    if (answer instanceof RpcError) throw answer;
    return answer;
  }
}

function migrate(technique: string, lastWord: LastWord, ...answers: Answer[]) {
  return play({ technique, lastWord, answers });
}

interface Play {
  readonly technique: string;
  readonly lastWord: LastWord;
  readonly answers: Answer[];
  /** The source's answer to a switch by hand, or "yes". */
  readonly switched?: RpcError | 'yes';
  /** With them the source serves until it is told that nobody needs its pages any more. */
  readonly arrivals?: (PostcopyArrival | undefined)[];
  /** With it the destination takes no part. */
  readonly refusal?: RpcError;
  /** It is cancelled while it is predicted, which takes until then. */
  readonly isRecalled?: boolean;
}

/** Its probes end only with the signal. */
class EndlessPredictions extends Predictions {
  override predict(_: unknown, signal: AbortSignal): Promise<never> {
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Error('the probe was ended')));
    });
  }
}

interface Told {
  readonly asked: number;
  readonly toldSource: string;
  readonly ticket: Ticket | undefined;
  readonly events: unknown[];
}

async function play({
  technique,
  lastWord,
  answers,
  switched,
  arrivals = [],
  refusal,
  isRecalled = false,
}: Play): Promise<MigrationReport & Told> {
  let nowMs = 0;
  const clock: Clock = {
    nowMs: () => nowMs,
    sleep: async (ms) => {
      nowMs += ms;
    },
  };
  const store = new OwnershipStore(':memory:');
  stores.push(store);
  const spec = guestSpec('web');
  store.createGuest(spec, 'a', 1n);
  const hosts = new PlayedHosts(lastWord, answers, (migration) => {
    store.beginHandover({ guest: 'web', epoch: 1n, migration }, 'a', 'b');
    store.closeHandover({ guest: 'web', epoch: 1n, migration }, 'destination');
  });
  hosts.arrivals = arrivals;
  hosts.refusal = refusal;
  const events = new EventLog();
  const told: unknown[] = [];
  events.emit = (...event) => void told.push(event);
  const incarnations = store.incarnations();
  const registry = new Registry({ clock, events, leaseMs: LEASE_MS, formerLeaseMs: 0, incarnations });
  for (const host of ['a', 'b']) {
    const base = { host, address: `${host}:1`, incarnation: host, capacityBytes: 1n << 30n };
    registry.grant({ ...base, guests: [] });
  }
  const witness = new Witness({ store, registry, hostPort: hosts, clock, events });
  const isLost = () => false;
  const watch = new GuestWatch({ registry, store, hostPort: hosts, events, isLost, isBusy: () => true });
  const [source, destination] = [registry.find('a')!, registry.find('b')!];
  const placement = new Placement({ registry, store, watch, moves: () => [] });
  const networks = new Networks({ events, hosts, placement });
  const predictions = new (isRecalled ? EndlessPredictions : Predictions)({ clock, hosts, networks });
  const modules = { clock, events, hosts, predictions, registry, store, watch, witness };
  const options = defaultMigrationOptions(technique);
  const plan = {
    guest: 'web',
    record: store.guest('web')!,
    source,
    destination,
    options,
    isPredicted: isRecalled,
  };
  const migration = new Migration(modules, plan, new AbortController().signal);
  if (switched !== undefined) {
    hosts.isSwitched = true;
    hosts.switchAnswer = switched === 'yes' ? undefined : switched;
    await migration.switchToPostCopy().catch(() => {});
  }
  if (isRecalled) await migration.cancel();
  const report = await migration.ended;
  return { ...report, asked: hosts.asked, toldSource: hosts.toldSource, ticket: hosts.ticket, events: told };
}

const late = new RpcError('DEADLINE_EXCEEDED', 'no answer');
const gone = new RpcError('NOT_FOUND', 'no migration');
const broken = new RpcError('UNAVAILABLE', 'the line is cut');
const lost = { phase: failed, reason: 'it did not get all its pages' };
const served = { phase: completed, reason: '' };
const saw = (phase: MigrationPhase, reason = ''): Answer =>
  HostServiceGetIncomingResponse.create({ phase, reason });

test.each<[string, LastWord, Answer, MigrationPhase, RegExp]>([
  [
    'the source says that they did not come',
    lost,
    late,
    failed,
    /did not get all .*; it is not known whether/,
  ],
  [
    'its line breaks and the destination is silent',
    broken,
    late,
    failed,
    /it is not known whether all pages/,
  ],
  ['its line breaks and the destination forgot', broken, gone, failed, /it is not known whether all pages/],
  ['the destination says that they were lost', served, saw(failed, '7 were lost'), failed, /^7 were lost$/],
  ['the source says that they came', served, late, completed, /^$/],
  ['the destination alone says that they came', lost, saw(completed), completed, /^$/],
  ['its line breaks, but the destination has them', broken, saw(completed), completed, /does not answer/],
])('a post-copy when %s', async (_, lastWord, answer, phase, reason) => {
  const report = await migrate('post-copy', lastWord, answer);
  expect(report).toMatchObject({ owner: 'b', phase });
  expect(report.reason).toMatch(reason);
});

test('a destination is asked again while pages may come, and no longer than the options allow', async () => {
  const report = await migrate('hybrid', broken, late, late, late, saw(failed, '7 were lost'));
  expect(report).toMatchObject({ phase: failed, reason: '7 were lost', asked: 4 });
  // Virtual time: it ends, though the destination lives and never answers.
  expect((await migrate('hybrid', broken, late)).asked).toBeGreaterThan(4);
});

test('a source that lost its link hears from the coordinator when nobody waits for its pages any more', async () => {
  const lacking = PostcopyArrival.fromPartial({ missingPages: 7n, paused: true });
  const whole = PostcopyArrival.fromPartial({ missingPages: 0n, paused: true });
  // Before the guest runs there, nothing is said of it.
  const arrivals = [undefined, lacking, whole, undefined];
  const answers = [saw(completed, 'no ledger came')];
  const report = await play({ technique: 'post-copy', lastWord: lost, answers, arrivals });
  expect(report.toldSource).toBe('a:1: b waits for no more pages of guest "web"');
  expect(report).toMatchObject({ owner: 'b', phase: completed, reason: 'no ledger came' });
});

test('a guest that is whole when it is handed over needs nobody who says so', async () => {
  expect(await migrate('pre-copy', broken, late)).toMatchObject({ owner: 'b', phase: completed, asked: 1 });
});

test.each<[string, RpcError | 'yes', MigrationPhase]>([
  ['was switched', 'yes', failed],
  ['may have been switched: the answer was lost', late, failed],
  ['was not: it came too late', new RpcError('FAILED_PRECONDITION', 'being paused'), completed],
])(
  'a pre-copy that %s by hand needs somebody who says so only if pages followed',
  async (_, switched, phase) => {
    const report = await play({ technique: 'pre-copy', lastWord: broken, answers: [gone], switched });
    expect(report).toMatchObject({ owner: 'b', phase });
  },
);

test.each([
  ['failed, when that is why its source was cancelled', errorText(broken), failed],
  ['cancelled, when its source had been before', 'cancelled by request', cancelled],
])('a migration in which the destination takes no part is %s', async (_, reason, phase) => {
  const lastWord = { phase: cancelled, reason };
  const report = await play({ technique: 'pre-copy', lastWord, answers: [gone], refusal: broken });
  expect(report).toMatchObject({ owner: 'a', phase, reason });
});

test.each(['pre-copy', AUTO])(
  'a migration that is cancelled while it is predicted never begins (%s)',
  async (technique) => {
    const report = await play({ technique, lastWord: broken, answers: [gone], isRecalled: true });
    expect(report).toMatchObject({ owner: 'a', phase: cancelled, reason: 'cancelled by request' });
    expect(report.ticket).toBeUndefined();
  },
);

test('the secret of a migration’s ticket is in nothing that is told of it, and another each time', async () => {
  const tickets: string[] = [];
  for (const lastWord of [broken, lost]) {
    const { ticket, ...told } = await migrate('post-copy', lastWord, late);
    expect(ticket).toMatchObject({ migration: told.migration, guest: 'web', source: 'a', destination: 'b' });
    const text = JSON.stringify(told, (_, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    );
    expect(text).toContain(told.migration);
    for (const form of ['hex', 'base64', 'base64url'] as const) {
      expect(text).not.toContain(ticket?.secret.toString(form));
    }
    tickets.push(ticket!.secret.toString('hex'));
  }
  expect(new Set(tickets).size).toBe(2);
  expect(tickets[0]).toHaveLength(64);
});
