/** proto/rpc.ts over real sockets: statuses, messages for people, deadlines, cancelling, streams. */
import { createServer, type Server } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { RpcError } from '../../../proto/errors.ts';
import {
  CoordinatorServiceClient,
  CoordinatorServiceService,
  type CoordinatorServiceWatchEventsResponse,
} from '../../../proto/generated/godwit/v1/coordinator.ts';
import {
  HostServiceClient,
  type HostServicePauseGuestResponse,
  HostServiceService,
} from '../../../proto/generated/godwit/v1/host.ts';
import {
  callStream,
  callUnary,
  clientFor,
  type RpcServer,
  serve,
  streamHandler,
  unaryHandler,
} from '../../../proto/rpc.ts';

const minuteMs = 60_000;
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

type HostHandlers = Parameters<typeof serve>[0][number]['handlers'];

async function serveHost(handlers: HostHandlers): Promise<{ client: HostServiceClient; server: RpcServer }> {
  const server = await serve([{ definition: HostServiceService, handlers }], '127.0.0.1:0');
  closers.push(() => server.close(0));
  const client = clientFor(HostServiceClient, server.address);
  closers.push(() => client.close());
  return { client, server };
}

async function failure(promise: Promise<unknown>): Promise<RpcError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof RpcError)) throw new Error(`expected an RpcError, got ${String(error)}`);
  return error;
}

const pause = (client: HostServiceClient, deadlineMs = minuteMs, signal?: AbortSignal) =>
  callUnary(
    client,
    'pauseGuest',
    { guest: 'a' },
    { what: 'pause a', deadlineMs, ...(signal === undefined ? {} : { signal }) },
  );

describe('a unary call', () => {
  test('brings a thrown RpcError to the caller with its code, its text and what was being done', async () => {
    const { client } = await serveHost({
      pauseGuest: unaryHandler(() => {
        throw new RpcError('NOT_FOUND', 'no guest "a" — name one of ListGuests');
      }),
    });
    const error = await failure(pause(client));
    expect(error.code).toBe('NOT_FOUND');
    expect(error.message).toBe('pause a: no guest "a" — name one of ListGuests');
    expect(error.details).toBe('no guest "a" — name one of ListGuests');
  });

  test('brings any other error as INTERNAL with its text but without its stack', async () => {
    const { client } = await serveHost({
      pauseGuest: unaryHandler(() => {
        throw new TypeError('a bug');
      }),
    });
    const error = await failure(pause(client));
    expect(error.code).toBe('INTERNAL');
    expect(error.message).toBe('pause a: a bug');
  });

  test('tells an UNAVAILABLE that the other side said from a connection that failed', async () => {
    const { client } = await serveHost({
      pauseGuest: unaryHandler(() => {
        throw new RpcError('UNAVAILABLE', 'host-2 is dead');
      }),
    });
    expect((await failure(pause(client))).message).toBe('pause a: host-2 is dead');
  });

  test('names the address and the remedy when nobody listens there', async () => {
    const { client, server } = await serveHost({});
    await server.close();
    const error = await failure(pause(client));
    expect(error.code).toBe('UNAVAILABLE');
    expect(error.message).toContain(`pause a: no answer from ${server.address}`);
    expect(error.message).toContain('check that it runs');
  });

  test('ends at its deadline when the other side accepts and says nothing', async () => {
    const mute: Server = createServer((socket) => socket.on('error', () => {}));
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    closers.push(() => mute.close());
    const address = mute.address();
    if (address === null || typeof address === 'string') throw new Error('expected a TCP address');
    const client = clientFor(HostServiceClient, `127.0.0.1:${address.port}`);
    closers.push(() => client.close());
    const error = await failure(pause(client, 100));
    expect(error.code).toBe('DEADLINE_EXCEEDED');
    expect(error.message).toContain(`no answer from 127.0.0.1:${address.port} within 0.1 s`);
  });

  test('is cancelled by its signal, and the handler hears of it', async () => {
    const handlerGone = Promise.withResolvers<void>();
    const called = Promise.withResolvers<void>();
    const { client } = await serveHost({
      pauseGuest: unaryHandler<unknown, HostServicePauseGuestResponse>(async (_request, { signal }) => {
        called.resolve();
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        handlerGone.resolve();
        return {};
      }),
    });
    const cancel = new AbortController();
    const answer = failure(pause(client, minuteMs, cancel.signal));
    await called.promise;
    cancel.abort();
    expect((await answer).code).toBe('CANCELLED');
    await handlerGone.promise;
  });
});

describe('a stream', () => {
  async function serveEvents(
    answer: (signal: AbortSignal) => AsyncIterable<CoordinatorServiceWatchEventsResponse>,
  ): Promise<CoordinatorServiceClient> {
    const handlers = { watchEvents: streamHandler((_request, { signal }) => answer(signal)) };
    const server = await serve([{ definition: CoordinatorServiceService, handlers }], '127.0.0.1:0');
    closers.push(() => server.close(0));
    const client = clientFor(CoordinatorServiceClient, server.address);
    closers.push(() => client.close());
    return client;
  }

  const numbered = (index: number): CoordinatorServiceWatchEventsResponse => ({
    event: { atMs: index, kind: 'host-registered', subject: `host-${index}`, detail: 'x'.repeat(1000) },
  });

  test('brings every message in order, then the error that ended it', async () => {
    const messageCount = 2_000;
    const client = await serveEvents(async function* () {
      for (let index = 0; index < messageCount; index++) yield numbered(index);
      throw new RpcError('RESOURCE_EXHAUSTED', 'enough');
    });
    const seen: (number | undefined)[] = [];
    const reading = async (): Promise<void> => {
      for await (const { event } of callStream(client, 'watchEvents', {}, { what: 'watch' })) {
        seen.push(event?.atMs);
      }
    };
    const error = await failure(reading());
    expect(error.message).toBe('watch: enough');
    expect(error.code).toBe('RESOURCE_EXHAUSTED');
    expect(seen).toEqual(Array.from({ length: messageCount }, (_, index) => index));
  });

  test('ends at the server when the reader leaves its loop', async () => {
    const serverGone = Promise.withResolvers<void>();
    const client = await serveEvents(async function* (signal) {
      signal.addEventListener('abort', () => serverGone.resolve());
      for (let index = 0; ; index++) {
        if (signal.aborted) return;
        yield numbered(index);
      }
    });
    for await (const { event } of callStream(client, 'watchEvents', {}, { what: 'watch' })) {
      expect(event?.subject).toBe('host-0');
      break;
    }
    await serverGone.promise;
  });

  test('that failed before anybody iterates still throws when somebody does', async () => {
    const client = await serveEvents(async function* () {
      yield* [];
      throw new RpcError('NOT_FOUND', 'nothing');
    });
    const stream = callStream(client, 'watchEvents', {}, { what: 'watch' });
    await failure(callUnary(client, 'listHosts', {}, { what: 'list', deadlineMs: minuteMs }));
    const iterate = async (): Promise<void> => {
      for await (const _ of stream) expect.unreachable();
    };
    expect((await failure(iterate())).message).toBe('watch: nothing');
  });
});

describe('serve', () => {
  test('says what is wrong with an address that it cannot take', async () => {
    await expect(serve([], 'nonsense')).rejects.toThrow('expected host:port');
    await expect(serve([], '127.0.0.1:70000')).rejects.toThrow('expected host:port');
    const { server } = await serveHost({});
    await expect(serve([], server.address)).rejects.toThrow(`listen on ${server.address}:`);
  });
});
