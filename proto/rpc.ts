/**
 * How the parts call each other: gRPC with a deadline on every call, errors for people, and one set of
 * limits. It stands with the contracts because coordinator, hosts and cli all need it and may not import each
 * other.
 */

import {
  type CallOptions,
  type Client,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  credentials,
  type handleServerStreamingCall,
  type handleUnaryCall,
  logVerbosity,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type ServiceError,
  setLogVerbosity,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { DEADLINES_MS, PATIENCE } from './deadlines.ts';
import { errorText, RpcError, statusName } from './errors.ts';

const MESSAGE_BYTES_MAX = 32 * 1024 * 1024;

/** A status travels in an HTTP/2 header: longer texts would break the call that they explain. */
const ERROR_TEXT_CHARACTERS_MAX = 2_000;

/**
 * Marks a status as the other side's own words: without it the connection failed and gRPC made the status up.
 */
const ANSWERED = 'godwit-answered';

const CHANNEL_OPTIONS = {
  'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
  'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
  // A peer that vanished without a word is noticed by its silence.
  'grpc.keepalive_time_ms': 10_000 * PATIENCE,
  'grpc.keepalive_timeout_ms': 10_000 * PATIENCE,
} as const;

const CLIENT_OPTIONS = {
  ...CHANNEL_OPTIONS,
  'grpc.keepalive_permit_without_calls': 1,
  // A restarted coordinator is found again at once, not after gRPC's two minutes.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1_000,
  'grpc.dns_min_time_between_resolutions_ms': 1_000,
  // The DNS holds no settings of ours. A process would end only when it had answered that question, which
  // takes twenty seconds in a network without a way out.
  'grpc.service_config_disable_resolution': 1,
  // Hosts and coordinator see each other directly: a proxy that the environment names is meant for the web.
  'grpc.enable_http_proxy': 0,
} as const;

// What goes wrong reaches people as an RpcError; gRPC's own lines on stderr would only say it twice.
if (process.env.GRPC_VERBOSITY === undefined) setLogVerbosity(logVerbosity.NONE);

type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

type StreamMethod<Request, Response> = (
  request: Request,
  metadata?: Metadata,
  options?: Partial<CallOptions>,
) => ClientReadableStream<Response>;

type UnaryName<C> = { [M in keyof C]: C[M] extends UnaryMethod<infer _Q, infer _A> ? M : never }[keyof C];
type StreamName<C> = { [M in keyof C]: C[M] extends StreamMethod<infer _Q, infer _A> ? M : never }[keyof C];
type UnaryRequest<F> = F extends UnaryMethod<infer Request, infer _A> ? Request : never;
type UnaryResponse<F> = F extends UnaryMethod<infer _Q, infer Response> ? Response : never;
type StreamRequest<F> = F extends StreamMethod<infer Request, infer _A> ? Request : never;
type StreamResponse<F> = F extends StreamMethod<infer _Q, infer Response> ? Response : never;

export interface UnarySettings {
  /** What is being done, for the error message: "create guest web-1 on host-2". */
  what: string;
  deadlineMs: number;
  signal?: AbortSignal;
}

/**
 * A stream lasts as long as its subject, so its deadline is optional; a vanished peer ends it in any case.
 */
export type StreamSettings = Omit<UnarySettings, 'deadlineMs'> & { deadlineMs?: number };

/** A stream's messages, once; leaving the loop or `cancel` ends the call. */
export interface MessageStream<Response> extends AsyncIterable<Response> {
  cancel(): void;
}

type ClientClass<C extends Client> = new (
  address: string,
  channelCredentials: ReturnType<typeof credentials.createInsecure>,
  options?: Partial<ClientOptions>,
) => C;

/**
 * A client of the service at `address` ("host:port"). It connects at its first call; the caller closes it.
 */
export function clientFor<C extends Client>(clientClass: ClientClass<C>, address: string): C {
  return new clientClass(address, credentials.createInsecure(), CLIENT_OPTIONS);
}

/** One question, one answer. Rejects with an RpcError whose message begins with `what`. */
export function callUnary<C extends Client, M extends UnaryName<C>>(
  client: C,
  method: M,
  request: UnaryRequest<C[M]>,
  settings: UnarySettings,
): Promise<UnaryResponse<C[M]>> {
  type Answer = UnaryResponse<C[M]>;
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const { signal } = settings;
  if (signal?.aborted) return Promise.reject(cancelledError(settings));
  const call = (client[method] as UnaryMethod<typeof request, Answer>).call(
    client,
    request,
    new Metadata(),
    { deadline: Date.now() + settings.deadlineMs },
    (error, response) => {
      signal?.removeEventListener('abort', cancel);
      if (error === null) resolve(response);
      else reject(rpcError(error, client, settings));
    },
  );
  function cancel(): void {
    call.cancel();
  }
  signal?.addEventListener('abort', cancel, { once: true });
  return promise;
}

/** One question, many answers. The iteration throws an RpcError whose message begins with `what`. */
export function callStream<C extends Client, M extends StreamName<C>>(
  client: C,
  method: M,
  request: StreamRequest<C[M]>,
  settings: StreamSettings,
): MessageStream<StreamResponse<C[M]>> {
  type Answer = StreamResponse<C[M]>;
  const { signal, deadlineMs } = settings;
  const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
  const open = client[method] as StreamMethod<typeof request, Answer>;
  const stream = open.call(client, request, new Metadata(), options);
  const cancel = (): void => stream.cancel();
  if (signal?.aborted) cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  // Heard from the start: an error that comes before anybody iterates must neither be lost nor end the
  // process.
  let failure: RpcError | undefined;
  let ended = false;
  let wake = (): void => {};
  stream.on('readable', () => wake());
  stream.on('end', () => {
    ended = true;
    wake();
  });
  stream.on('error', (error: ServiceError) => {
    failure = rpcError(error, client, settings);
    wake();
  });
  async function* messages(): AsyncGenerator<Answer, void, undefined> {
    try {
      for (;;) {
        const message = stream.read() as Answer | null;
        if (message !== null) yield message;
        else if (failure !== undefined) throw failure;
        else if (ended) return;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      signal?.removeEventListener('abort', cancel);
      stream.cancel();
    }
  }
  return { cancel, [Symbol.asyncIterator]: messages };
}

function rpcError(error: ServiceError, client: Client, settings: StreamSettings): RpcError {
  const { what } = settings;
  const code = statusName(error.code);
  const { details } = error;
  const made = (message: string): RpcError => new RpcError(code, message, { details, cause: error });
  if (error.metadata.get(ANSWERED).length > 0) return made(`${what}: ${details}`);
  if (settings.signal?.aborted || code === 'CANCELLED') return cancelledError(settings);
  const address = client.getChannel().getTarget().replace(/^dns:/, '');
  if (code === 'UNAVAILABLE') {
    return made(
      `${what}: no answer from ${address} (${details.replace(/ Resolution note: $/, '')}); ` +
        'check that it runs and that this is its address',
    );
  }
  if (code === 'DEADLINE_EXCEEDED' && settings.deadlineMs !== undefined) {
    return made(
      `${what}: no answer from ${address} within ${settings.deadlineMs / 1000} s; ` +
        'it hangs or is overloaded (GODWIT_PATIENCE=4 makes all deadlines four times as long)',
    );
  }
  return made(`${what}: ${details}`);
}

function cancelledError({ what }: StreamSettings): RpcError {
  return new RpcError('CANCELLED', `${what}: cancelled`);
}

/** What a handler may want to know of its call. */
export interface CallContext {
  /** Aborted when the caller goes away or its deadline passes. */
  signal: AbortSignal;
}

/** A gRPC handler from an async function: what it throws becomes the call's status. */
export function unaryHandler<Request, Response>(
  answer: (request: Request, context: CallContext) => Promise<Response> | Response,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    const gone = new AbortController();
    call.on('cancelled', () => gone.abort());
    const run = async (): Promise<void> => {
      let response: Response;
      try {
        response = await answer(call.request, { signal: gone.signal });
      } catch (error) {
        callback(failedStatus(error));
        return;
      }
      callback(null, response);
    };
    void run();
  };
}

/** A gRPC handler from an async generator: it is asked for the next message when the last one was taken. */
export function streamHandler<Request, Response>(
  answer: (request: Request, context: CallContext) => AsyncIterable<Response>,
): handleServerStreamingCall<Request, Response> {
  return (call) => {
    const gone = new AbortController();
    call.on('cancelled', () => gone.abort());
    call.on('error', () => gone.abort());
    const run = async (): Promise<void> => {
      for await (const message of answer(call.request, { signal: gone.signal })) {
        if (gone.signal.aborted) return;
        if (!call.write(message)) await drained(call, gone.signal);
      }
      call.end();
    };
    run().catch((error: unknown) => call.emit('error', failedStatus(error)));
  };
}

function drained(call: NodeJS.EventEmitter, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => {
    call.off('drain', done);
    signal.removeEventListener('abort', done);
    resolve();
  };
  call.on('drain', done);
  signal.addEventListener('abort', done);
  return promise;
}

function failedStatus(error: unknown): { code: status; details: string; metadata: Metadata } {
  const metadata = new Metadata();
  metadata.set(ANSWERED, 'yes');
  const code = error instanceof RpcError ? status[error.code] : status.INTERNAL;
  return { code, details: errorText(error).slice(0, ERROR_TEXT_CHARACTERS_MAX), metadata };
}

/** One service of a server: `CoordinatorServiceService` and its handlers. */
export interface ServedService {
  definition: ServiceDefinition;
  handlers: UntypedServiceImplementation;
}

export interface RpcServer {
  /** "host:port" with the port that was taken. */
  address: string;
  /** Takes no more calls, and after `deadlineMs` ends those that still run. */
  close(deadlineMs?: number): Promise<void>;
}

/**
 * Serves on `listen` ("host:port", "[v6]:port"; port 0: any free one).
 * @param socketPath a Unix socket to serve on besides, which is reached from every network namespace
 * @throws Error with a sentence when the address is malformed or cannot be listened on.
 */
export async function serve(
  services: readonly ServedService[],
  listen: string,
  socketPath?: string,
): Promise<RpcServer> {
  const match = /^(.+):(\d{1,5})$/.exec(listen);
  if (match === null || Number(match[2]) > 65_535) {
    throw new Error(`listen on "${listen}": expected host:port, such as 127.0.0.1:0 for any free port`);
  }
  const server = new Server(CHANNEL_OPTIONS);
  for (const { definition, handlers } of services) server.addService(definition, handlers);
  const port = await bind(server, listen);
  if (socketPath !== undefined) await bind(server, `unix:${socketPath}`);
  return {
    address: `${match[1]}:${port}`,
    close: (deadlineMs = DEADLINES_MS.processStop) => closeServer(server, deadlineMs),
  };
}

function bind(server: Server, listen: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else {
        const advice = 'take another port (0: any free one) or end who has it';
        // grpc-js puts each address's own error into brackets behind a sentence of its own.
        const why = /resolved errors: \[(.*)\]$/.exec(error.message)?.[1] ?? error.message;
        reject(new Error(`listen on ${listen}: ${why}; ${advice}`, { cause: error }));
      }
    });
  });
}

function closeServer(server: Server, deadlineMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown();
      // The connection of a peer that hangs stays half closed for as long as it hangs.
      resolve();
    }, deadlineMs);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
