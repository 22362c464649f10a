/**
 * Goal: a client's request is carried out and answered exactly once, wherever the guest's move finds it: before the
 * guest's queue, in it, done and in the queue of responses, or sent. Method: both ends of real migrations in one
 * process, and a NIC at each whose uplink is the test's.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { NicControl } from '../../hosts/guest/nic-control.ts';
import { QUEUE, Virtqueue } from '../../hosts/guest/virtqueue.ts';
import { GuestNetwork, type GuestSpec, RateUnit } from '../../proto/generated/godwit/v1/guest.ts';
import { MigrationPhase } from '../../proto/generated/godwit/v1/migration.ts';
import { QUEUE_SLOTS } from '../../proto/guest-network.ts';
import { encodeRequest, RequestOperation } from '../../proto/guest-request.ts';
import { TECHNIQUES } from '../../proto/names.ts';
import { flowOf, Nics, RecordingUplink } from '../support/recording-uplink.ts';
import { EnginePair, guestSpec, optionsOf, until } from './engine-pair.ts';

const KEY = 3;
const { SET } = RequestOperation;

let pair: EnginePair | undefined;
const nics = new Nics();

afterEach(async () => {
  await nics.closeAll();
  await pair?.end();
  pair = undefined;
  expect(nics.problems.splice(0)).toEqual([]);
});

/** Does nothing by itself, so that a version of the record counts the requests that were carried out. */
function clientsSpec(): GuestSpec {
  const spec = guestSpec('kv', 0);
  const network = GuestNetwork.fromPartial({ forwarder: '127.0.0.1:1' });
  return { ...spec, network, workload: { ...spec.workload!, rateUnit: RateUnit.RATE_UNIT_REQUESTS_ONLY } };
}

async function expectMoved(moving: EnginePair): Promise<void> {
  const { outcome } = await moving.ends();
  expect(outcome.phase).toBe(MigrationPhase.MIGRATION_PHASE_COMPLETED);
  expect(await moving.destination.audit()).toMatchObject({ faults: [], evidence: 'ledger' });
}

/** Each of the first `count` requests has one answer, and was carried out once, in its turn. */
function expectAnswered({ sent }: RecordingUplink, count: number): void {
  const answers = sent.map(({ flow, response }) => [flow, Number(response?.number), response?.version]);
  expect(answers).toEqual(Array.from({ length: count }, (_, number) => [number, number, number + 1]));
}

describe.each(TECHNIQUES)('%s', (technique) => {
  test('takes along both queues, full of requests and of responses', async () => {
    pair = await EnginePair.create(clientsSpec(), optionsOf(technique));
    // A NIC that takes no response out: the guest stops serving when their queue is full.
    const { shared } = pair.source;
    const control = new NicControl(shared.control);
    const requests = new Virtqueue(shared, QUEUE.REQUESTS);
    const responses = new Virtqueue(shared, QUEUE.RESPONSES);
    for (let number = 0; number < 2 * QUEUE_SLOTS; ) {
      expect(control.enter()).toBe(true);
      const isPut = requests.put(
        flowOf(number),
        encodeRequest({ operation: SET, key: KEY, number: BigInt(number) }),
      );
      control.leave();
      control.kick();
      if (isPut) number++;
      else await sleep(1);
    }
    await until(() => responses.waiting() === QUEUE_SLOTS);
    expect(requests.waiting()).toBe(QUEUE_SLOTS);

    const uplink = new RecordingUplink();
    await nics.connect(pair.destination.shared, uplink);
    await pair.begin();
    await until(() => uplink.sent.length === 2 * QUEUE_SLOTS);
    await expectMoved(pair);
    expectAnswered(uplink, 2 * QUEUE_SLOTS);
  });

  test('loses and doubles no request of clients that never stop', async () => {
    pair = await EnginePair.create(clientsSpec(), optionsOf(technique));
    const source = new RecordingUplink();
    const destination = new RecordingUplink(source);
    await nics.connect(pair.source.shared, source);
    await nics.connect(pair.destination.shared, destination);
    const ended = { migration: false, requests: 0 };
    const asking = (async () => {
      for (let left = 50; left > 0; await sleep(1)) {
        const uplink = destination.announced.length > 0 ? destination : source;
        for (let count = 0; count < 5; count++) uplink.request(SET, KEY, ended.requests++);
        if (ended.migration) left--;
      }
    })();
    await pair.begin();
    await expectMoved(pair);
    ended.migration = true;
    await asking;
    await until(() => source.sent.length >= ended.requests);
    expectAnswered(source, ended.requests);
    await until(() => source.announced.at(-1) === -1);
    expect(destination.announced[0]).toBe(1);
  });
});
