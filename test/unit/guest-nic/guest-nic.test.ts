/** What clients get from a guest through its NIC, and what the NIC does when the guest stands still or leaves. */

import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { nowMs } from '../../../hosts/clock.ts';
import { HANDOVER, HOLD } from '../../../hosts/guest/control-layout.ts';
import type { Guest } from '../../../hosts/guest/guest.ts';
import { NicControl } from '../../../hosts/guest/nic-control.ts';
import { clearDirtyPages, PageTable } from '../../../hosts/guest/page-table.ts';
import { QUEUE, Virtqueue } from '../../../hosts/guest/virtqueue.ts';
import { GuestNics } from '../../../hosts/guest-nics.ts';
import { HostNetwork } from '../../../hosts/host-network.ts';
import { encodeFrame } from '../../../proto/forwarder-wire.ts';
import { type GuestNetwork, RateUnit, type WorkloadSpec } from '../../../proto/generated/godwit/v1/guest.ts';
import { DEFAULT_ANNOUNCE, QUEUE_SLOTS } from '../../../proto/guest-network.ts';
import { RESPONSE_HEAD_BYTES } from '../../../proto/guest-request.ts';
import { withLength } from '../../../proto/message-stream.ts';
import { Nics, RecordingUplink } from '../../support/recording-uplink.ts';
import { Guests, guestSpec, until } from '../guest/specs.ts';

const GET = 1;
const SET = 2;
const NETWORK: GuestNetwork = {
  address: '',
  port: 0,
  forwarder: '127.0.0.1:1',
  token: 'secret',
  announce: DEFAULT_ANNOUNCE,
};

const guests = new Guests();
const nics = new Nics();
afterEach(async () => {
  await nics.closeAll();
  await guests.destroyAll();
  expect(nics.problems.splice(0)).toEqual([]);
});

function networkSpec(workload: Partial<WorkloadSpec> = {}, vcpuCount = 1) {
  const rateUnit = RateUnit.RATE_UNIT_REQUESTS_ONLY;
  const spec = guestSpec({ kind: 'kv', rateUnit, ...workload }, { mebibytes: 2, vcpuCount });
  return { ...spec, network: NETWORK };
}

async function connected(workload: Partial<WorkloadSpec> = {}, announce = DEFAULT_ANNOUNCE, vcpuCount = 1) {
  const guest = await guests.create(networkSpec(workload, vcpuCount));
  const uplink = new RecordingUplink();
  await nics.connect(guest.shared, uplink, announce);
  return { guest, uplink };
}

/** Makes the handover of a guest that is paused for good. */
function commit(guest: Guest): void {
  guest.control.requestPause();
  guest.control.tryHandover(HANDOVER.NONE, HANDOVER.COMMITTED);
}

describe('a kv guest', () => {
  test('answers each request once, in order, with the version of the record', async () => {
    const { guest, uplink } = await connected();
    const operations = [SET, SET, GET, SET, GET] as const;
    for (const [number, operation] of operations.entries()) uplink.request(operation, 5, number);
    uplink.request(GET, 6, 5);
    await until(() => uplink.sent.length === 6);
    expect(uplink.sent.map(({ flow }) => flow)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(uplink.sent.map(({ response }) => response?.version)).toEqual([1, 2, 2, 3, 3, 0]);
    expect(uplink.sent[3]?.response).toMatchObject({ operation: SET, key: 5, number: 3n, status: 0 });
    expect(guest.series.counts()).toEqual({ operations: 6, pageWrites: 3 });
    expect(await guest.audit()).toMatchObject({ faults: [], pagesChecked: 254n });
  });

  test('answers while it works by itself on all its vCPUs, and is whole', async () => {
    const workload = { rateUnit: RateUnit.RATE_UNIT_OPERATIONS_PER_S, rate: 0, read: 0.2 };
    const { guest, uplink } = await connected(workload, DEFAULT_ANNOUNCE, 2);
    for (let number = 0; number < 2000; number++) uplink.request(SET, 9, number);
    await until(() => uplink.sent.length === 2000);
    const versions = uplink.sent.map(({ response }) => response?.version ?? 0);
    expect(versions).toEqual(versions.toSorted((left, right) => left - right));
    expect(new Set(versions).size).toBe(2000);
    expect((await guest.audit()).faults).toEqual([]);
  });

  test('says that it cannot read a request, and says nothing to a response', async () => {
    const { uplink } = await connected();
    uplink.request(GET, 1, 1);
    await until(() => uplink.sent.length === 1);
    uplink.offer(2, uplink.sent[0]!.message);
    uplink.offer(3, Buffer.from('hello'));
    await until(() => uplink.sent.length === 2);
    expect(uplink.sent[1]).toMatchObject({ flow: 3, response: { status: 1, key: 0, number: 0n } });
  });

  test('is asked for more than its queues hold, and answers it all', async () => {
    const { uplink } = await connected();
    const count = 20 * QUEUE_SLOTS;
    for (let number = 0; number < count; number++) uplink.request(GET, number, number);
    expect(uplink.refusedCount).toBeGreaterThan(0);
    await until(() => uplink.sent.length === count);
    expect(uplink.sent.every(({ flow }, index) => flow === index)).toBe(true);
  });
});

test('a web guest answers with a body made of what it read, and writes its log and its sessions', async () => {
  const { guest, uplink } = await connected({ kind: 'web', pagesPerRequest: 256, responseBytes: 1452 });
  for (const number of [0, 1, 2]) uplink.request(number === 1 ? SET : GET, 77, number);
  await until(() => uplink.sent.length === 3);
  expect(uplink.sent.map(({ response }) => response?.bodyBytes)).toEqual([1452, 1452, 1452]);
  expect(uplink.sent.map(({ response }) => response?.version)).toEqual([0, 1, 1]);
  const bodies = uplink.sent.map(({ message }) => message.subarray(RESPONSE_HEAD_BYTES).toString('hex'));
  expect(bodies[0]).toBe(bodies[1]);
  expect(guest.series.counts()).toEqual({ operations: 3, pageWrites: 4 });
  expect((await guest.audit()).faults).toEqual([]);
});

describe('while the guest is held', () => {
  test('nothing is put into its queues or taken out, and afterwards all is', async () => {
    const { guest, uplink } = await connected();
    guest.control.requestPause(HOLD.AUDIT);
    await guest.pause();
    const memory = Buffer.from(new Uint8Array(guest.shared.memory));
    for (let number = 0; number < 10; number++) uplink.request(SET, number, number);
    expect(uplink.waiting).toHaveLength(10);
    guest.control.resume(HOLD.AUDIT);
    expect(Buffer.from(guest.shared.memory).equals(memory)).toBe(true);
    await guest.resume();
    await until(() => uplink.sent.length === 10);
    expect(uplink.announced.includes(-1)).toBe(false);
  });
});

describe('while the uplink can send nothing', () => {
  test('responses stay in the guest, and go when it can', async () => {
    const { guest, uplink } = await connected();
    uplink.canSend = false;
    const count = 3 * QUEUE_SLOTS;
    for (let number = 0; number < count; number++) uplink.request(SET, 5, number);
    const responses = new Virtqueue(guest.shared, QUEUE.RESPONSES);
    await until(() => responses.waiting() === QUEUE_SLOTS);
    expect(uplink.sent).toEqual([]);
    uplink.reconnected();
    await until(() => uplink.sent.length === count);
    expect(uplink.sent.map(({ flow }) => flow)).toEqual(Array.from({ length: count }, (_, index) => index));
  });
});

test('requests wait for a guest that is slowed, and are answered when it is let go', async () => {
  const { guest, uplink } = await connected();
  const { throttle } = guest.control;
  const pageTable = new PageTable(guest.shared.pageTable, 512);
  let startMs: number;
  let asked = 0;
  const ask = (): void => uplink.request(SET, asked, asked++);
  do {
    throttle.release();
    await until(() => uplink.sent.length === asked);
    await guest.pause();
    clearDirtyPages(pageTable, guest.control);
    throttle.setQuota({ pages: 1000, periodMs: 1000 });
    startMs = nowMs();
    await guest.resume();
    const goal = asked + 50;
    while (asked < goal) ask();
    await until(() => uplink.sent.length === goal);
    expect(pageTable.countDirty()).toBeGreaterThan(5);
    // What these have dirtied it pays with a second for each page.
    throttle.setQuota({ pages: 1, periodMs: 1000 });
    ask();
    for (let safepoint = 0; safepoint < 3; safepoint++) guest.control.passEpoch();
    // Unless the machine was so slow that the first quota's period ended meanwhile.
  } while (nowMs() - startMs > 900);
  expect(uplink.sent).toHaveLength(asked - 1);
  throttle.release();
  await until(() => uplink.sent.length === asked);
  expect((await guest.audit()).faults).toEqual([]);
});

test('guest memory says which message was taken last, also when it has been answered', async () => {
  const { uplink } = await connected();
  expect(uplink.lastFlow).toBe(0);
  for (let number = 1; number <= QUEUE_SLOTS + 7; number++) uplink.request(GET, 5, number);
  await until(() => uplink.sent.length === QUEUE_SLOTS + 7);
  expect(uplink.lastFlow).toBe(QUEUE_SLOTS + 7);
});

describe('the announcements', () => {
  const often = { delayMs: 1, initialMs: 1, maxMs: 2, stepMs: 1, rounds: 4 };

  test('are as many as were asked for, and begin again when the guest comes back', async () => {
    const { guest, uplink } = await connected({}, often);
    await until(() => uplink.announced.length === 4);
    commit(guest);
    await until(() => uplink.announced.length === 5);
    await guest.resume();
    await until(() => uplink.announced.length === 9);
    expect(uplink.announced).toEqual([1, 2, 3, 4, -1, 1, 2, 3, 4]);
  });

  test('end with the withdrawal of a guest that leaves in the midst of them', async () => {
    const { guest, uplink } = await connected({}, { ...often, initialMs: 100_000, maxMs: 100_000 });
    await until(() => uplink.announced.length === 1);
    commit(guest);
    await until(() => uplink.announced.length === 2);
    expect(uplink.announced).toEqual([1, -1]);
  });

  test('end with the withdrawal of a guest that is ended as soon as it has left', async () => {
    const guest = await guests.create(networkSpec());
    const uplink = new RecordingUplink();
    const nic = await nics.connect(guest.shared, uplink);
    await until(() => uplink.announced.length === 1);
    commit(guest);
    await nic.close();
    expect(uplink.announced).toEqual([1, -1]);
  });

  test('do not begin before the guest runs', async () => {
    const guest = await guests.incoming(networkSpec());
    const uplink = new RecordingUplink();
    await nics.connect(guest.shared, uplink);
    uplink.request(GET, 1, 1);
    expect(uplink.waiting).toHaveLength(1);
    expect(uplink.announced).toEqual([]);
    await guest.resume();
    await until(() => uplink.sent.length === 1);
    expect(uplink.announced[0]).toBe(1);
  });
});

describe('a guest whose clients cannot be connected', () => {
  const settings = () => {
    const released = { count: 0 };
    const release = async (): Promise<void> => {
      released.count++;
    };
    // Nothing listens there.
    return { released, nic: { epoch: 1, device: 'lo', dial: { address: '127.0.0.1', port: 1 }, release } };
  };

  test('is not made, and what its NIC held is released', async () => {
    const { released, nic } = settings();
    await expect(guests.create(networkSpec(), nic)).rejects.toThrow('the NIC of guest subject');
    expect(released.count).toBe(1);
  });

  test('arrives all the same, and says so', async () => {
    const { released, nic } = settings();
    const guest = await guests.incoming(networkSpec(), nic);
    // The thread stands by before its owner has heard of the problem.
    await until(() => guest.nicProblem !== '');
    expect(guest.nicProblem).toContain('the NIC of guest subject');
    await guest.resume();
    expect(guest.running).toBe(true);
    await guest.pause();
    await guest.destroy();
    expect(released.count).toBe(1);
  });

  test('arrives also when its host cannot lead to the forwarder, and its mover does not wait', async () => {
    const data = { listen: '127.0.0.1', advertise: '127.0.0.1' };
    const network = await HostNetwork.start({
      ...{ host: 'host', backend: 'relay', device: 'lo', alwaysNic: true, data },
    });
    await network.openPath('');
    // The host's own NIC is gone.
    await network.close();
    const settings = await new GuestNics(network, 'lo').settingsOrProblem(networkSpec(), 1n);
    expect(settings).toBeInstanceOf(Error);
    const guest = await guests.incoming(networkSpec(), settings);
    expect(guest.nicProblem).toMatch(/^the NIC of guest subject: .*the NIC is closed/);
    await guest.control.waitNicAsync(Number.MAX_SAFE_INTEGER);
    await guest.resume();
    expect(guest.running).toBe(true);
    await guest.pause();
  });
});

test('a guest whose clients could not be connected says so until they are', async () => {
  let isOpen = false;
  const server = createServer((socket) => {
    socket.on('error', () => {});
    if (isOpen) socket.resume().write(withLength(encodeFrame({ kind: 'welcome' })));
    else socket.destroy();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  try {
    const { port } = server.address() as { port: number };
    const dial = { address: '127.0.0.1', port };
    const guest = await guests.incoming(networkSpec(), {
      ...{ epoch: 1, device: 'lo', dial, release: async () => {} },
    });
    // Its message may come later than its sign in shared memory.
    await until(() => guest.nicProblem.includes('the NIC of guest subject'));
    await guest.resume();
    isOpen = true;
    await until(() => guest.nicProblem === '');
    await guest.destroy();
  } finally {
    server.close();
  }
});

test('a NIC is waited for while it is in a burst, and no longer when it has died', async () => {
  const guest = await guests.create(networkSpec());
  expect(new NicControl(guest.shared.control).enter()).toBe(true);
  const pausing = guest.pause();
  const paused = await Promise.race([
    pausing.then(() => true),
    until(() => guest.control.vcpuState(0) === 3),
  ]);
  expect(paused).toBeUndefined();
  guest.control.markNicEnded();
  await pausing;
});

test('an audit finds damage in the queues', async () => {
  const { guest } = await connected();
  await guest.pause();
  const words = new Int32Array(guest.shared.memory);
  const queue = new Virtqueue(guest.shared, QUEUE.REQUESTS);
  expect(queue.problem()).toBeUndefined();
  // The index of requests produced is the first word of the last page but one.
  const produced = words.length - 2 * 1024;
  words[produced] = QUEUE_SLOTS + 1;
  expect((await guest.audit()).faults).toMatchObject([{ page: 510n, kind: 'queue' }]);
  expect(queue.hasMessage).toBe(false);
  expect(queue.hasRoom).toBe(false);
});
