/** Goal: every wait of a mover ends, and for the reason that it says. */

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { ChannelSender } from '../../../hosts/migration/channel-sender.ts';
import { Failpoints, longestHoldMs } from '../../../hosts/migration/failpoints.ts';
import { pauseFor, Silence } from '../../../hosts/migration/silence.ts';
import { FailpointAction } from '../../../proto/generated/godwit/v1/migration.ts';

const { FAILPOINT_ACTION_HOLD, FAILPOINT_ACTION_DELAY } = FailpointAction;
const never = new Promise<never>(() => {});
const HOUR_MS = 3_600_000;

afterEach(() => {
  vi.useRealTimers();
});

describe('waiting for the other side', () => {
  test('ends when it is silent, and says what it owes', async () => {
    const silence = new Silence('the destination', 20, new AbortController().signal);
    await expect(silence.during('READY', never)).rejects.toThrow('silent for 20 ms; it owes READY');
  });

  test('does not end while signs of life come, however long it takes', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'hrtime'] });
    const silence = new Silence('the destination', 200, new AbortController().signal);
    const wait = silence.during('an answer', never);
    let failure: unknown;
    wait.catch((error: unknown) => {
      failure = error;
    });
    for (let sign = 0; sign < 30; sign++) {
      await vi.advanceTimersByTimeAsync(199);
      expect(failure).toBeUndefined();
      silence.touch();
    }
    await vi.advanceTimersByTimeAsync(201);
    expect(String(failure)).toContain('silent for 200 ms');
  });

  test('ends though this side says ALIVE all the time, when the other one has stopped reading', async () => {
    // Whoever stands behind the port reads nothing and says nothing, and does not close it.
    const server = createServer({ pauseOnConnect: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const [frozen] = (await once(server, 'connection')) as [Socket];
    const silence = new Silence('the source', 300, new AbortController().signal);
    const sender = new ChannelSender(socket, silence);
    const alive = setInterval(() => sender.send('ALIVE', {}), 10);
    try {
      await expect(silence.during('the missing pages', never)).rejects.toThrow('silent for 300 ms');
    } finally {
      clearInterval(alive);
      socket.destroy();
      frozen.destroy();
      server.close();
    }
  });

  test('ends with the migration, for its reason', async () => {
    const ending = new AbortController();
    const wait = new Silence('the source', HOUR_MS, ending.signal).during('pages', never);
    ending.abort(new Error('cancelled: enough'));
    await expect(wait).rejects.toThrow('cancelled: enough');
    await expect(pauseFor(HOUR_MS, ending.signal)).rejects.toThrow('cancelled: enough');
  });
});

describe('a failpoint', () => {
  const events: string[] = [];
  const hooks = { held: (point: string) => events.push(point), released: () => events.push('released') };

  test('holds until it is released, and tells', async () => {
    const failpoint = { point: 'setup', action: FAILPOINT_ACTION_HOLD, durationMs: HOUR_MS };
    const failpoints = new Failpoints([failpoint], hooks, new AbortController().signal);
    const reached = failpoints.reach('setup');
    expect(events.splice(0)).toEqual(['setup']);
    failpoints.release();
    await reached;
    expect(events.splice(0)).toEqual(['released']);
    await failpoints.reach('round-1');
    expect(events).toEqual([]);
  });

  test('holds no longer than its duration, and delays without a word', async () => {
    const failpoints = new Failpoints(
      [
        { point: 'setup', action: FAILPOINT_ACTION_HOLD, durationMs: 5 },
        { point: 'round-1', action: FAILPOINT_ACTION_DELAY, durationMs: 5 },
      ],
      hooks,
      new AbortController().signal,
    );
    await failpoints.reach('setup');
    expect(events.splice(0)).toEqual(['setup', 'released']);
    await failpoints.reach('round-1');
    expect(events).toEqual([]);
  });

  test('ends with the migration', async () => {
    const ending = new AbortController();
    const failpoint = { point: 'round-2', action: FAILPOINT_ACTION_HOLD, durationMs: HOUR_MS };
    const reached = new Failpoints([failpoint], hooks, ending.signal).reach('round-2');
    ending.abort(new Error('the other side is gone'));
    await expect(reached).rejects.toThrow('the other side is gone');
    events.length = 0;
  });

  test('makes the other side wait as much longer as the longest of them', () => {
    const at = (durationMs: number) => ({ point: 'setup', action: FAILPOINT_ACTION_HOLD, durationMs });
    expect([longestHoldMs([]), longestHoldMs([at(5), at(9)])]).toEqual([0, 9]);
  });
});
