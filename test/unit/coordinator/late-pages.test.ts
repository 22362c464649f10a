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
import { OwnershipStore } from '../../../coordinator/ownership-store.ts';
import { Registry } from '../../../coordinator/registry.ts';
import { Witness } from '../../../coordinator/witness.ts';
import { RpcError } from '../../../proto/errors.ts';
import {
  HostServiceGetGuestStatsResponse,
  HostServiceGetIncomingResponse,
  type HostServiceStartMigrationRequest,
  HostServiceStartMigrationResponse,
  SourceOutcome,
  type Ticket,
} from '../../../proto/generated/godwit/v1/host.ts';
import { MigrationPhase, type MigrationReport } from '../../../proto/generated/godwit/v1/migration.ts';
import { defaultMigrationOptions } from '../../../proto/migration-options.ts';
import type { MessageStream } from '../../../proto/rpc.ts';
import { guestSpec } from './guest-specs.ts';

const { MIGRATION_PHASE_COMPLETED: completed, MIGRATION_PHASE_FAILED: failed } = MigrationPhase;
const LEASE_MS = 600_000;

const stores: OwnershipStore[] = [];
afterEach(() => {
  for (const store of stores.splice(0)) store.close();
});

/** What the source says last, or why its line breaks. */
type LastWord = { phase: MigrationPhase; reason: string } | RpcError;
type Answer = HostServiceGetIncomingResponse | RpcError;

class PlayedHosts extends HostClients {
  asked = 0;
  ticket: Ticket | undefined;
  readonly #lastWord: LastWord;
  readonly #answers: Answer[];
  readonly #handOver: (migration: string) => void;

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

  async *#move(migration: string): AsyncGenerator<HostServiceStartMigrationResponse> {
    this.#handOver(migration);
    if (this.#lastWord instanceof RpcError) throw this.#lastWord;
    const value = SourceOutcome.fromPartial(this.#lastWord);
    yield HostServiceStartMigrationResponse.create({ event: { $case: 'outcome', value } });
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

async function migrate(
  technique: string,
  lastWord: LastWord,
  ...answers: Answer[]
): Promise<MigrationReport & { asked: number; ticket: Ticket | undefined; events: unknown[] }> {
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
  const modules = { clock, events, hosts, registry, store, watch, witness };
  const options = defaultMigrationOptions(technique);
  const plan = { guest: 'web', record: store.guest('web')!, source, destination, options };
  const report = await new Migration(modules, plan, new AbortController().signal).ended;
  return { ...report, asked: hosts.asked, ticket: hosts.ticket, events: told };
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

test('a guest that is whole when it is handed over needs nobody who says so', async () => {
  expect(await migrate('pre-copy', broken, late)).toMatchObject({ owner: 'b', phase: completed, asked: 1 });
});

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
