/**
 * The host's one NIC as its service and its migrations see it: the shape that it has, who makes it (the
 * kernel's tc, the relay, or both), the fault that is on it, and whether traffic passes the relay at all.
 *
 * Traffic passes the relay from the moment when the host is given any shape that is not all tc's, even an
 * unlimited one, until the shape is taken away; while a fault is set; and always on a host that was started
 * with --nic.
 */

import { createHash } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { errorText, RpcError } from '../proto/errors.ts';
import { type LinkFault, LinkFaultKind, type NetworkShape } from '../proto/generated/godwit/v1/network.ts';
import { linkFaultProblem, NO_FAULT, networkShapeProblems, unshapedNetwork } from '../proto/network-shape.ts';
import { nowMs } from './clock.ts';
import { type BackendPlan, backendPlan, relayProblems } from './network/backend-plan.ts';
import { type KernelFeatures, kernelFeatures } from './network/kernel-features.ts';
import { Nic } from './network/nic.ts';
import { TcShaper, tcDevice } from './network/tc.ts';
import { type DataAddress, NetworkPath } from './network-path.ts';

export const NETWORK_BACKENDS = ['relay', 'tc'] as const;
export type NetworkBackend = (typeof NETWORK_BACKENDS)[number];

export interface HostNetworkSettings {
  readonly host: string;
  readonly backend: NetworkBackend;
  /** tc: the device that carries the host's traffic. */
  readonly device: string;
  /** Whether traffic always passes the relay, so that a fault can be set at any time. */
  readonly alwaysNic: boolean;
  readonly data: DataAddress;
}

/** What the kernel does on a host whose backend is tc. */
interface KernelSide {
  readonly features: KernelFeatures;
  readonly shaper: TcShaper;
}

export class HostNetwork {
  readonly #settings: HostNetworkSettings;
  readonly #kernel: KernelSide | undefined;
  #nic: Promise<Nic> | undefined;
  #shape: NetworkShape | undefined;
  #fault: LinkFault = NO_FAULT;
  /** A reset is over at once, and a stall ends by itself. */
  #faultEndMs = 0;
  /** Whether the relay does a part of the shape. */
  #relayShapes = false;
  /** Paths that go past the relay now. */
  #directCount = 0;
  /** Changes are made one after the other. */
  #changing: Promise<unknown> = Promise.resolve();

  private constructor(settings: HostNetworkSettings, kernel: KernelSide | undefined) {
    this.#settings = settings;
    this.#kernel = kernel;
  }

  /**
   * With tc, the device is unshaped from now on, whatever a host that was killed had put on it.
   *
   * @throws Error when the backend is tc and the kernel does not let this process shape the device
   */
  static async start(settings: HostNetworkSettings): Promise<HostNetwork> {
    if (settings.backend === 'relay') return new HostNetwork(settings, undefined);
    const features = await kernelFeatures();
    const refused = features.missing.permitted ?? features.missing.htb;
    if (refused !== undefined) throw new Error(`--network tc: the kernel refuses to shape: ${refused}`);
    const shaper = new TcShaper(await tcDevice(settings.device));
    await shaper.remove();
    return new HostNetwork(settings, { features, shaper });
  }

  get shape(): NetworkShape | undefined {
    return this.#shape;
  }

  get fault(): LinkFault {
    return nowMs() < this.#faultEndMs ? this.#fault : NO_FAULT;
  }

  /**
   * Gives the NIC a shape, or takes it away.
   *
   * @param faults whether faults will be set, for which the traffic must pass the relay
   * @param peerAddresses where the shape's peers are, by name
   * @throws RpcError INVALID_ARGUMENT, or FAILED_PRECONDITION when the backend cannot make the shape; then
   *   there is none
   */
  setShape(
    shape: NetworkShape | undefined,
    faults: boolean,
    peerAddresses: Readonly<Record<string, string>>,
  ): Promise<void> {
    return this.#inTurn(async () => {
      const problems = shape === undefined ? [] : networkShapeProblems(shape);
      if (problems.length > 0)
        throw new RpcError('INVALID_ARGUMENT', `network shape: ${problems.join('; ')}`);
      const plan = shape === undefined ? NO_PLAN : this.#plan(shape, faults);
      if (plan.problems.length > 0) {
        const advice = this.#kernel === undefined ? '; start the host with --network tc' : '';
        throw new RpcError('FAILED_PRECONDITION', `network shape: ${plan.problems.join('; ')}${advice}`);
      }
      try {
        await this.#apply(plan, peerAddresses);
        this.#shape = shape;
      } catch (error) {
        await this.#apply(NO_PLAN, {}).catch(() => {});
        this.#shape = undefined;
        throw new RpcError('FAILED_PRECONDITION', errorText(error), { cause: error });
      }
    });
  }

  /**
   * Ends the fault before and begins this one.
   *
   * @throws RpcError INVALID_ARGUMENT, or FAILED_PRECONDITION when a migration runs that the fault would not
   *   reach
   */
  setFault(fault: LinkFault): Promise<void> {
    return this.#inTurn(async () => {
      const problem = linkFaultProblem(fault);
      if (problem !== undefined) throw new RpcError('INVALID_ARGUMENT', problem);
      const isEnd = fault.kind === LinkFaultKind.LINK_FAULT_KIND_NONE;
      if (!isEnd && this.#directCount > 0) {
        throw new RpcError(
          'FAILED_PRECONDITION',
          `${this.#directCount} migrations, probes or guests of ${this.#settings.host} go past its NIC, where no ` +
            'fault reaches them; give it a shape (an unlimited one will do) before they begin, ' +
            'or start the host with --nic',
        );
      }
      const endMs = faultEndMs(fault);
      if (!isEnd || this.#nic !== undefined) await (await this.#startedNic()).setFault(fault);
      this.#fault = fault;
      this.#faultEndMs = endMs;
    });
  }

  /** The way to and from another host; the caller closes it. */
  async openPath(peer: string): Promise<NetworkPath> {
    const { data } = this.#settings;
    if (this.#usesNic) return new NetworkPath(await this.#startedNic(), data, peer, () => {});
    this.#directCount++;
    return new NetworkPath(undefined, data, peer, () => this.#directCount--);
  }

  /** Takes away whatever was put on the kernel's device, and ends the relay. */
  async close(): Promise<void> {
    await this.#changing;
    await Promise.all([this.#kernel?.shaper.remove(), this.#nic?.then((nic) => nic.close())]);
  }

  get #usesNic(): boolean {
    const isFaulty = this.fault.kind !== LinkFaultKind.LINK_FAULT_KIND_NONE;
    return this.#settings.alwaysNic || this.#relayShapes || isFaulty;
  }

  /** The relay does everything, unless the kernel is asked first. */
  #plan(shape: NetworkShape, faults: boolean): BackendPlan {
    if (this.#kernel !== undefined) return backendPlan(shape, this.#kernel.features, faults);
    return { tc: undefined, relay: shape, problems: relayProblems(shape) };
  }

  async #apply({ tc, relay }: BackendPlan, peerAddresses: Readonly<Record<string, string>>): Promise<void> {
    if (this.#kernel !== undefined) {
      const { shaper } = this.#kernel;
      if (tc === undefined) await shaper.remove();
      else await shaper.setShape(tc, await ipv4Addresses(tc, peerAddresses));
    }
    if (relay !== undefined || this.#nic !== undefined) {
      await (await this.#startedNic()).setShape(relay ?? unshapedNetwork());
    }
    this.#relayShapes = relay !== undefined;
  }

  #startedNic(): Promise<Nic> {
    if (this.#nic === undefined) {
      // Hosts with different names have different jitter, and each has the same every time.
      const seed = createHash('sha256').update(this.#settings.host).digest().readUInt32LE();
      this.#nic = Nic.start(seed);
      this.#nic.catch(() => {
        this.#nic = undefined;
      });
    }
    return this.#nic;
  }

  #inTurn<Result>(change: () => Promise<Result>): Promise<Result> {
    const changed = this.#changing.then(change);
    this.#changing = changed.catch(() => {});
    return changed;
  }
}

const NO_PLAN: BackendPlan = { tc: undefined, relay: undefined, problems: [] };

/** When a fault that begins now ends by itself, ms. */
function faultEndMs({ kind, durationMs }: LinkFault): number {
  if (kind === LinkFaultKind.LINK_FAULT_KIND_RESET) return 0;
  if (kind === LinkFaultKind.LINK_FAULT_KIND_STALL) return nowMs() + durationMs;
  return Number.POSITIVE_INFINITY;
}

/** tc tells packets by addresses, and hosts may have registered with names. */
async function ipv4Addresses(
  { peers }: NetworkShape,
  peerAddresses: Readonly<Record<string, string>>,
): Promise<Map<string, string>> {
  const entries = peers.flatMap(({ peer }) => {
    const known = peerAddresses[peer];
    return known === undefined ? [] : [{ peer, known }];
  });
  const found = entries.map(async ({ peer, known }) => {
    const { address } = await lookup(known, { family: 4 });
    return [peer, address] as const;
  });
  return new Map(await Promise.all(found));
}
