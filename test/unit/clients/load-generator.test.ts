/**
 * The load generator against a server of the test's own that answers as a guest does, or does not: what it counts, and
 * from which moment it measures.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { AnswerLog } from '../../../clients/answer-log.ts';
import { Arrivals } from '../../../clients/arrivals.ts';
import { LoadGenerator } from '../../../clients/load-generator.ts';
import type { LoadSettings } from '../../../proto/client-load.ts';
import { nowMs } from '../../../proto/clock.ts';
import { MessageSplitter, withLength } from '../../../proto/message-stream.ts';
import { answerTo, EchoMemory } from './echo-guest.ts';

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const SETTINGS: Omit<LoadSettings, 'address' | 'protocol'> = {
  ...{ ratePerS: 200, arrivals: 'constant', read: 0.5, keys: 5, seed: 1 },
  timeoutMs: 120_000,
};

/** At most so many requests are due by `atMs` of a generator that was started after `startMs`. */
const dueBy = (startMs: number, atMs: number): number => ((atMs - startMs) * SETTINGS.ratePerS) / 1000 + 1;

const until = (condition: () => boolean): Promise<void> =>
  vi.waitFor(() => expect(condition()).toBe(true), { timeout: 240_000, interval: 5 });

/** What a server does with each request: answers now, or keeps it. */
class Server {
  readonly memory = new EchoMemory();
  readonly kept: (() => void)[] = [];
  /** How many requests came. */
  count = 0;
  isStill = false;

  request(message: Buffer, reply: (answer: Buffer) => void): void {
    this.count++;
    const answer = (): void => reply(answerTo(this.memory, Buffer.from(message)));
    if (this.isStill) this.kept.push(answer);
    else answer();
  }

  goOn(): void {
    this.isStill = false;
    for (const answer of this.kept.splice(0)) answer();
  }
}

async function udpServer(server: Server): Promise<string> {
  const socket = createSocket('udp4');
  closers.push(() => socket.close());
  socket.on('message', (message, from) =>
    server.request(message, (answer) => socket.send(answer, from.port, from.address)),
  );
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return `127.0.0.1:${socket.address().port}`;
}

async function start(
  settings: Partial<LoadSettings> & Pick<LoadSettings, 'address'>,
): Promise<LoadGenerator> {
  const generator = await LoadGenerator.start({ ...SETTINGS, protocol: 'udp', ...settings }, (error) => {
    throw error;
  });
  closers.push(() => generator.close());
  return generator;
}

test('requests are due while nobody answers, and each waits from its own moment', async () => {
  const server = new Server();
  const address = await udpServer(server);
  const startMs = nowMs();
  const generator = await start({ address });
  await until(() => server.count >= 20);
  server.isStill = true;
  await until(() => server.kept.length > 0);
  // The answers before it are there: two turns of the loop read them.
  for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate);
  const fromMs = nowMs();
  await until(() => nowMs() > fromMs + 250);
  const toMs = nowMs();
  server.goOn();
  await until(() => server.count >= dueBy(startMs, toMs) + 20);
  const report = await generator.finish({ fromMs, toMs });
  expect(report).toMatchObject({ lost: 0, late: 0, wrong: 0, reconnects: 0, answered: report.sent });
  // Who waits for an answer before asking again would have one slow request there.
  const { before, during, after } = report.latencyMs;
  expect(during.count).toBeGreaterThanOrEqual(49);
  expect(during.p50!).toBeLessThan(during.p99!);
  expect(before.count + during.count + after.count).toBe(report.sent);
  expect(report.gap!.ms).toBeGreaterThanOrEqual(toMs - fromMs);
  expect(report.gap!.ms).toBeLessThanOrEqual(toMs - fromMs + 1100);
});

test('what is not answered in time is lost, and late when it is answered after all', async () => {
  const server = new Server();
  server.isStill = true;
  const address = await udpServer(server);
  const startMs = nowMs();
  const generator = await start({ address, timeoutMs: 50 });
  await until(() => server.kept.length >= 30);
  // So old that their time is over, and the generator has looked since.
  const overMs = nowMs() + 60;
  await until(() => nowMs() > overMs && server.count > dueBy(startMs, overMs));
  server.kept.splice(10);
  server.goOn();
  const { count } = server;
  await until(() => server.count >= count + 20);
  const report = await generator.finish(undefined);
  expect(report.lost).toBeGreaterThanOrEqual(30);
  expect(report.late).toBeGreaterThanOrEqual(10);
  expect(report.answered + report.lost).toBe(report.sent);
  expect(report.wrong).toBe(0);
});

test('an answer that forgot an acknowledged write is wrong', async () => {
  const server = new Server();
  const generator = await start({ address: await udpServer(server), keys: 1 });
  await until(() => server.count >= 40);
  expect(server.memory.versions.get(0)).toBeGreaterThan(1);
  // As a guest that went on from an older copy of its memory would.
  const { count } = server;
  server.memory.versions.set(0, 0);
  await until(() => server.count >= count + 20);
  expect((await generator.finish(undefined)).wrong).toBeGreaterThan(0);
});

test('a TCP connection that is reset is made again', async () => {
  const server = new Server();
  const sockets: Socket[] = [];
  const listener = createServer((socket) => {
    sockets.push(socket);
    const splitter = new MessageSplitter(2048);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      splitter.push(chunk);
      for (let next = splitter.next(); typeof next !== 'string'; next = splitter.next()) {
        server.request(next, (answer) => socket.write(withLength(answer)));
      }
    });
  });
  await once(listener.listen(0, '127.0.0.1'), 'listening');
  closers.push(() => listener.close());
  const address = `127.0.0.1:${(listener.address() as { port: number }).port}`;
  const generator = await start({ address, protocol: 'tcp', timeoutMs: 500 });
  await until(() => server.count >= 20);
  // On a slow machine those before are attempts that took too long.
  sockets.at(-1)!.resetAndDestroy();
  const { count } = server;
  await until(() => server.count >= count + 20);
  const report = await generator.finish(undefined);
  expect(report).toMatchObject({ reconnects: 1, wrong: 0 });
  expect(report.answered + report.lost).toBe(report.sent);
  // What was on its way at the reset is lost, and nothing of what came after it.
  expect(report.answered + report.late).toBeGreaterThanOrEqual(20);
});

test('the gap is the longest silence around the migration, and phases go by the moment when requests were due', () => {
  const log = new AnswerLog();
  // Silent for 500 ms long before, for 40 ms within the migration, and for 20 ms after it.
  const came = [0, 500, 1000, 1010, 1050, 1051, 1071, 2049];
  for (const atMs of came) log.add(atMs - 2, atMs);
  const window = { fromMs: 1000, toMs: 1060 };
  expect(log.gap(window, 1075)).toEqual({ ms: 100, atMs: 900 });
  log.add(2050, 2052);
  expect(log.gap(window, 3000)).toEqual({ ms: 978, atMs: 1071 });
  const { before, during, after } = log.latencies(window);
  expect([before.count, during.count, after.count]).toEqual([3, 3, 3]);
  expect(during.max).toBe(2);
  expect(new AnswerLog().gap(window, 3000)).toBeNull();
  // Nobody knows how long it went on when nothing came after it, be it for a question of the migration's own time.
  const silent = new AnswerLog();
  for (const atMs of [900, 1000, 1070]) silent.add(atMs - 20, atMs);
  expect(silent.gap(window, 3000)).toBeNull();
  expect(silent.gap(undefined, 3000)).toEqual({ ms: 1930, atMs: 1070 });
  expect(new AnswerLog().latencies(undefined).before).toMatchObject({ count: 0, p50: null });
});

test('arrivals have the rate that was asked for, and the same seed makes the same choices', () => {
  for (const arrivals of ['constant', 'poisson'] as const) {
    const settings = { ...SETTINGS, address: '', protocol: 'udp', arrivals, ratePerS: 1000 } as const;
    const take = () => {
      const made = new Arrivals(settings);
      return Array.from({ length: 20_000 }, () => ({ inMs: made.nextIntervalMs(), ...made.nextChoice() }));
    };
    const choices = take();
    expect(take()).toEqual(choices);
    const meanMs = choices.reduce((sum, { inMs }) => sum + inMs, 0) / choices.length;
    expect(meanMs).toBeCloseTo(1, 1);
    expect(choices.filter(({ operation }) => operation === 1).length / choices.length).toBeCloseTo(0.5, 1);
    expect(new Set(choices.map(({ key }) => key))).toEqual(new Set([0, 1, 2, 3, 4]));
  }
});
