/**
 * The clients of a trial's guests, as processes outside of the hosts: a forwarder when there is to be one, and
 * a load generator for each guest and protocol. They are there before the migration and longer than it.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OwnedProcess } from '../fabric/child-process.ts';
import type { ClientSide } from '../fabric/fabric.ts';
import type { ClientWay, LoadReport, LoadSettings, MigrationWindow } from '../proto/client-load.ts';
import { DEADLINES_MS } from '../proto/deadlines.ts';
import type { GuestNetwork } from '../proto/generated/godwit/v1/guest.ts';
import { DEFAULT_GUEST_PORT } from '../proto/guest-network.ts';
import { guestAddresses, parseIpv4Range } from '../proto/ipv4-range.ts';
import type { ResolvedClients } from '../spec/clients-section.ts';
import { guestsOf, type ResolvedSpec } from '../spec/resolve.ts';

const script = (name: string): string =>
  join(fileURLToPath(new URL('.', import.meta.url)), '..', 'clients', name);

/** Where a guest's clients ask, and how its host is told. */
interface Entrance {
  readonly address: string;
  readonly network: GuestNetwork;
}

/** A load generator that runs. */
interface Load {
  readonly guest: string;
  readonly settings: LoadSettings;
  readonly process: OwnedProcess;
}

/** What a load generator saw. */
export interface LoadOutcome {
  readonly guest: string;
  readonly via: ClientWay;
  readonly settings: LoadSettings;
  readonly report: LoadReport;
}

export class TrialClients {
  readonly #side: ClientSide;
  readonly #clients: ResolvedClients;
  readonly #seed: number;
  readonly #forwarder: OwnedProcess | undefined;
  readonly #entrances: ReadonlyMap<string, Entrance>;
  #loads: Load[] = [];

  private constructor(
    side: ClientSide,
    clients: ResolvedClients,
    seed: number,
    forwarder: OwnedProcess | undefined,
    entrances: ReadonlyMap<string, Entrance>,
  ) {
    this.#side = side;
    this.#clients = clients;
    this.#seed = seed;
    this.#forwarder = forwarder;
    this.#entrances = entrances;
  }

  /**
   * The way in, before there are guests; undefined when the spec has no clients.
   *
   * @param taken addresses that no guest may have
   * @throws Error when there is none, or ChildProcessError
   */
  static async prepare(
    spec: ResolvedSpec,
    side: ClientSide,
    taken: readonly string[],
    signal: AbortSignal,
  ): Promise<TrialClients | undefined> {
    const { clients, seed } = spec;
    if (clients === undefined) return undefined;
    const guests = guestsOf(spec).map(({ name }) => name);
    if (clients.via === 'address') {
      const entrances = ownAddresses(clients, side, guests, taken);
      return new TrialClients(side, clients, seed, undefined, entrances);
    }
    const args = ['--address', side.address, ...guests.flatMap((guest) => ['--guest', guest])];
    const { prefix } = side;
    const forwarder = await OwnedProcess.start({
      ...{ name: 'the forwarder', script: script('forwarder-main.ts'), args, prefix, signal },
    });
    const { address, token, guests: doors } = forwarder.ready;
    const network: GuestNetwork = {
      ...{ address: '', port: 0, forwarder: address, token: String(token) },
      announce: clients.announce,
    };
    const entrances = Object.entries(doors as Record<string, string>).map(
      ([guest, door]) => [guest, { address: door, network }] as const,
    );
    return new TrialClients(side, clients, seed, forwarder, new Map(entrances));
  }

  networkOf(guest: string): GuestNetwork | undefined {
    return this.#entrances.get(guest)?.network;
  }

  /** Starts the load: it goes on until `finish` or `endLoads`. @throws ChildProcessError */
  async startLoads(signal: AbortSignal): Promise<void> {
    const { protocols, ratePerS, arrivals, read, keys, timeoutMs } = this.#clients;
    const wanted = [...this.#entrances].flatMap(([guest, { address }]) =>
      protocols.map((protocol) => ({ guest, protocol, address })),
    );
    const started = await Promise.allSettled(
      wanted.map(async ({ guest, protocol, address }, index) => {
        const seed = this.#seed + index;
        const settings = { protocol, address, ratePerS, arrivals, read, keys, seed, timeoutMs };
        const process = await OwnedProcess.start({
          name: `the clients of ${guest} (${protocol})`,
          script: script('load-main.ts'),
          args: loadArguments(settings),
          prefix: this.#side.prefix,
          signal,
        });
        this.#loads.push({ guest, settings, process });
      }),
    );
    // Not at the first failure: whatever has been started must be known when the trial ends.
    const failed = started.find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  }

  /**
   * Ends the load, and tells what it saw.
   *
   * @param windows the migration of each guest that moved
   * @throws ChildProcessError when a load generator cannot tell
   */
  async finish(windows: ReadonlyMap<string, MigrationWindow>): Promise<LoadOutcome[]> {
    const deadlineMs = this.#clients.timeoutMs + DEADLINES_MS.guestWork;
    return await Promise.all(
      this.#loads.map(async ({ guest, settings, process }) => {
        const finish = windows.get(guest) ?? null;
        const answer = await process.ask(JSON.stringify({ finish }), deadlineMs);
        return { guest, via: this.#clients.via, settings, report: JSON.parse(answer) as LoadReport };
      }),
    );
  }

  /** Ends the load; may be called more than once. */
  async endLoads(): Promise<void> {
    await Promise.all(this.#loads.splice(0).map(({ process }) => process.stop()));
  }

  /** Takes the way in away, when the guests are gone. */
  async close(): Promise<void> {
    await this.endLoads();
    await this.#forwarder?.stop();
  }
}

/** @throws Error when the testbed has no addresses for guests */
function ownAddresses(
  { addresses, announce }: ResolvedClients,
  side: ClientSide,
  guests: readonly string[],
  taken: readonly string[],
): Map<string, Entrance> {
  const range = parseIpv4Range(addresses ?? side.guestAddresses ?? '');
  if (range === undefined) {
    throw new Error(
      'clients: no addresses for guests are known here, at which clients could reach them; ' +
        'take `via: forwarder`, `fabric: {kind: netns}`, or give a range with `clients: {addresses: ...}`',
    );
  }
  const given = guestAddresses(range, guests.length, taken);
  return new Map(
    guests.map((guest, index) => {
      const network = {
        address: given[index]!,
        port: DEFAULT_GUEST_PORT,
        forwarder: '',
        token: '',
        announce,
      };
      return [guest, { address: `${given[index]}:${DEFAULT_GUEST_PORT}`, network }];
    }),
  );
}

function loadArguments(settings: LoadSettings): string[] {
  const { protocol, address, ratePerS, arrivals, read, keys, seed, timeoutMs } = settings;
  return [
    ...['--address', address, '--protocol', protocol, '--rate', String(ratePerS), '--arrivals', arrivals],
    ...['--read', String(read), '--keys', String(keys), '--seed', String(seed)],
    ...['--timeout', String(timeoutMs)],
  ];
}
