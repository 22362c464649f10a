/**
 * The coordinator over a real socket: statuses and messages. Hosts are registered by hand, with guests that
 * the coordinator adopts, and answer nothing else: what real hosts do is tested with real hosts.
 */
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Coordinator, startCoordinator } from '../../../coordinator/coordinator.ts';
import { RpcError } from '../../../proto/errors.ts';
import {
  CoordinatorServiceClient,
  type Event,
  type GuestEntry,
  HeldGuest,
} from '../../../proto/generated/godwit/v1/coordinator.ts';
import { GuestState } from '../../../proto/generated/godwit/v1/guest.ts';
import { defaultMigrationOptions } from '../../../proto/migration-options.ts';
import { callStream, callUnary, clientFor } from '../../../proto/rpc.ts';
import { guestSpec } from './guest-specs.ts';

const MEBIBYTE = 1024 * 1024;
const minuteMs = 60_000;
const longLeaseMs = 30_000;
/** Nothing listens there: port 9 is reserved for discarding. */
const NOBODY = '127.0.0.1:9';

let coordinator: Coordinator;
let client: CoordinatorServiceClient;

async function start(leaseMs: number): Promise<void> {
  coordinator = await startCoordinator({ listen: '127.0.0.1:0', statePath: ':memory:', leaseMs });
  client = clientFor(CoordinatorServiceClient, coordinator.address);
}

beforeEach(() => start(longLeaseMs));
afterEach(async () => {
  client.close();
  await coordinator.close();
});

const call = { what: 'test', deadlineMs: minuteMs };

function register(host: string, guests: readonly string[] = [], incarnation = `${host}-process`) {
  const state = GuestState.GUEST_STATE_RUNNING;
  const held = guests.map((guest) => HeldGuest.create({ guest, epoch: 1n, state, spec: guestSpec(guest) }));
  const capacityBytes = BigInt(2 * MEBIBYTE);
  const request = { host, address: NOBODY, capacityBytes, incarnation, guests: held };
  return callUnary(client, 'registerHost', request, call);
}

function heartbeat(host: string, incarnation = `${host}-process`, guests: readonly HeldGuest[] = []) {
  return callUnary(client, 'heartbeat', { host, incarnation, stats: undefined, guests: [...guests] }, call);
}

async function migrate(guest: string, destination: string, technique = 'pre-copy'): Promise<unknown[]> {
  const options = defaultMigrationOptions(technique);
  const events: unknown[] = [];
  for await (const { event } of callStream(client, 'migrate', { guest, destination, options }, call)) {
    events.push(event);
  }
  return events;
}

async function status(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof RpcError) return `${error.code} ${error.details}`;
    throw error;
  }
  return 'OK';
}

async function guests(): Promise<GuestEntry[]> {
  return (await callUnary(client, 'listGuests', {}, call)).guests;
}

/** The first event of a kind, from those that were and those that come. */
async function eventOf(kind: string): Promise<Event> {
  for await (const { event } of callStream(
    client,
    'watchEvents',
    {},
    { ...call, deadlineMs: 2 * minuteMs },
  )) {
    if (event?.kind === kind) return event;
  }
  throw new Error(`no event ${kind} came`);
}

describe('hosts', () => {
  test('get a lease when they register, and register again where they are not known', async () => {
    expect(await heartbeat('host-1')).toEqual({ leaseMs: 0, registerAgain: true });
    expect(await register('host-1')).toEqual({ leaseMs: longLeaseMs });
    expect(await heartbeat('host-1')).toEqual({ leaseMs: longLeaseMs, registerAgain: false });
    expect(await heartbeat('host-1', 'another-process')).toEqual({ leaseMs: 0, registerAgain: true });
    const { hosts } = await callUnary(client, 'listHosts', {}, call);
    expect(hosts).toMatchObject([{ host: 'host-1', address: NOBODY, alive: true }]);
  });

  test('are refused a name that a live host has, and malformed requests', async () => {
    await register('host-1');
    expect(await register('host-1')).toEqual({ leaseMs: longLeaseMs });
    expect(await status(register('host-1', [], 'another-process'))).toMatch(
      /^ALREADY_EXISTS host name "host-1" is taken by a live host at .*; take another name/,
    );
    expect(await status(register('Host 1'))).toMatch(/^INVALID_ARGUMENT .*"Host 1" is not a name/);
    expect(await status(register('host-2', [], ''))).toMatch(
      /^INVALID_ARGUMENT .*incarnation has 0 characters/,
    );
  });
});

describe('guests', () => {
  test('that run and are on no record are adopted, so a lost database kills nothing', async () => {
    await register('host-1', ['web']);
    expect(await guests()).toMatchObject([
      { owner: 'host-1', epoch: 1n, lost: '', state: GuestState.GUEST_STATE_RUNNING, spec: { name: 'web' } },
    ]);
    // The second host that says so does not get it.
    await register('host-2', ['web']).catch(() => {});
    expect((await guests())[0]?.owner).toBe('host-1');
  });

  test('that failed are told once, with the reason', async () => {
    await register('host-1', ['web']);
    const state = GuestState.GUEST_STATE_FAILED;
    const failed = HeldGuest.create({ guest: 'web', epoch: 1n, state, failure: 'vCPU 0 has ended' });
    for (let times = 0; times < 2; times++) await heartbeat('host-1', undefined, [failed]);
    await register('host-2');
    const kinds: unknown[] = [];
    for await (const { event } of callStream(client, 'watchEvents', {}, call)) {
      if (event?.kind === 'guest-failed') kinds.push([event.subject, event.detail]);
      if (event?.subject === 'host-2') break;
    }
    expect(kinds).toEqual([['web', 'on host-1: vCPU 0 has ended']]);
  });

  test('are lost when their host comes back without them, and found when it has them again', async () => {
    await register('host-1', ['web']);
    await heartbeat('host-1');
    expect((await guests())[0]?.lost).toBe('');
    await heartbeat('host-1');
    expect((await guests())[0]).toMatchObject({
      owner: '',
      lost: 'host host-1 lives, but has come back without it',
    });
    expect((await eventOf('guest-lost')).subject).toBe('web');
    expect(await status(migrate('web', ''))).toMatch(/^FAILED_PRECONDITION guest "web" is lost/);
    await register('host-1', ['web']);
    expect((await eventOf('guest-found')).subject).toBe('web');
    expect((await guests())[0]).toMatchObject({ owner: 'host-1', lost: '' });
  });

  test('cannot be created badly, twice, nowhere, without room, or on a silent host', async () => {
    const create = (spec: ReturnType<typeof guestSpec>, host = '') =>
      status(callUnary(client, 'createGuest', { spec, host }, call));
    expect(await create(guestSpec('web'))).toMatch(/^FAILED_PRECONDITION no live host; start one/);
    await register('host-1', ['web']);
    expect(await create(guestSpec('No Name', 5))).toMatch(
      /^INVALID_ARGUMENT .*"No Name".*; memory is 5 bytes/,
    );
    expect(await create(guestSpec('web'))).toMatch(/^ALREADY_EXISTS guest "web" exists/);
    expect(await create(guestSpec('db'), 'host-9')).toBe('NOT_FOUND no host "host-9"; there are host-1');
    expect(await create(guestSpec('db', 4 * MEBIBYTE))).toMatch(
      /^RESOURCE_EXHAUSTED .*"db": it needs 4 MiB, and host-1 has 1 MiB free of 2 MiB/,
    );
    expect(await create(guestSpec('db'))).toMatch(/^UNAVAILABLE /);
    expect((await guests()).map(({ spec }) => spec?.name)).toEqual(['web']);
  });

  test('that are unknown are told apart from those that are there', async () => {
    await register('host-1', ['web']);
    const destroy = callUnary(client, 'destroyGuest', { guest: 'db' }, call);
    expect(await status(destroy)).toBe('NOT_FOUND no guest "db"; there are web');
    expect(await status(callUnary(client, 'auditGuest', { guest: 'db' }, call))).toMatch(/^NOT_FOUND/);
  });
});

describe('migrate begins nothing', () => {
  test.each([
    ['an unknown guest', 'db', 'host-2', 'pre-copy', /^NOT_FOUND no guest "db"; there are big, web/],
    ['an unknown host', 'web', 'host-9', 'pre-copy', /^NOT_FOUND no host "host-9"; there are host-1, host-2/],
    ['to where it is', 'web', 'host-1', 'pre-copy', /^INVALID_ARGUMENT guest "web" is on host-1 already/],
    ['an unknown technique', 'web', 'host-2', 'magic', /^INVALID_ARGUMENT migrate: technique is "magic"/],
    ['to a host without room', 'web', 'host-2', 'pre-copy', /^RESOURCE_EXHAUSTED .*host-2 has 0 MiB free/],
  ])('%s', async (_what, guest, destination, technique, expected) => {
    await register('host-1', ['web']);
    const spec = guestSpec('big', 2 * MEBIBYTE);
    const big = HeldGuest.create({ guest: 'big', epoch: 1n, state: GuestState.GUEST_STATE_RUNNING, spec });
    const host = { host: 'host-2', address: NOBODY, capacityBytes: BigInt(2 * MEBIBYTE), incarnation: 'x' };
    await callUnary(client, 'registerHost', { ...host, guests: [big] }, call);
    expect(await status(migrate(guest, destination, technique))).toMatch(expected);
    expect((await guests()).map(({ migration }) => migration)).toEqual(['', '']);
  });

  test('and cancel says what there is to cancel', async () => {
    const cancel = callUnary(client, 'cancelMigration', { target: 'web' }, call);
    expect(await status(cancel)).toBe(
      'NOT_FOUND no migration of that name and no moving guest "web"; none runs',
    );
  });
});

test('a migration whose source dies before the handover fails, and the guest is lost', async () => {
  client.close();
  await coordinator.close();
  await start(500);
  const begin = async (): Promise<unknown> => {
    await register('host-1', ['web']);
    await register('host-2');
    const [last] = await migrate('web', 'host-2').catch((error: unknown) => [error]);
    // On a slow machine the short leases may have ended before the request came.
    return last instanceof RpcError && last.code === 'FAILED_PRECONDITION' ? await begin() : last;
  };
  const report = await begin();
  expect(report).toMatchObject({ $case: 'report', value: { owner: '', destination: 'host-2' } });
  expect(inspect(report, { depth: 3 })).toContain(
    'the guest is lost: host host-1 is dead: its lease has ended',
  );
  expect((await eventOf('host-lost')).kind).toBe('host-lost');
});

describe('the witness', () => {
  const key = { guest: 'web', epoch: 1n, migration: 'm1' };
  const begin = (over: object = {}) =>
    callUnary(client, 'beginHandover', { ...key, source: 'host-1', destination: 'host-2', ...over }, call);
  const settle = (owner: string, over: object = {}) =>
    callUnary(client, 'settleHandover', { ...key, owner, ...over }, call);

  beforeEach(async () => {
    await register('host-1', ['web']);
    await register('host-2');
  });

  test('begins a handover once, again for the same question, and not for another', async () => {
    await begin();
    await begin();
    expect(await status(begin({ migration: 'm2' }))).toMatch(
      /^FAILED_PRECONDITION begin .*owner host-1 at epoch 1, with migration m1 to host-2 open/,
    );
    expect(await status(begin({ guest: 'db' }))).toBe('NOT_FOUND no guest "db" is on record');
    expect(await status(migrate('web', 'host-2'))).toMatch(
      /^FAILED_PRECONDITION .*being moved by migration m1/,
    );
  });

  test('answers a late question as it answered the first one', async () => {
    await begin();
    expect(await status(settle('host-3'))).toMatch(/^INVALID_ARGUMENT .*"host-3" is neither its source nor/);
    expect(await settle('host-2')).toEqual({ owner: 'host-2', epoch: 2n });
    expect(await settle('host-1')).toEqual({ owner: 'host-2', epoch: 2n });
    const late = await callUnary(client, 'resolveHandover', { ...key, askedBy: 'host-1' }, call);
    expect(late).toEqual({ owner: 'host-2', epoch: 2n });
    expect((await guests())[0]).toMatchObject({ owner: 'host-2', epoch: 2n });
  });

  test('refuses a handover that begins after its migration was settled', async () => {
    expect(await settle('host-1')).toEqual({ owner: 'host-1', epoch: 1n });
    expect(await status(begin())).toMatch(/^FAILED_PRECONDITION .*migration m1 is over/);
    await begin({ migration: 'm2' });
  });
});
