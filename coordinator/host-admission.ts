/**
 * How a host gets its lease. The rule that keeps a guest from running twice: a host that was called dead
 * hears what was decided meanwhile before it gets a lease again, since under a lease it may run a guest whose
 * handover it believes open. So a heartbeat after the lease's end renews nothing: the host registers again,
 * and is told first.
 */

import { errorText, RpcError } from '../proto/errors.ts';
import type {
  CoordinatorServiceHeartbeatRequest,
  CoordinatorServiceRegisterHostRequest,
  HeldGuest,
} from '../proto/generated/godwit/v1/coordinator.ts';
import { nameProblem } from '../proto/names.ts';
import type { HostPort } from './host-port.ts';
import { COORDINATOR_LIMITS } from './limits.ts';
import type { OwnershipStore } from './ownership-store.ts';
import { decisionsToTell, judgeHeld } from './reconcile.ts';
import type { Registry } from './registry.ts';

export interface AdmissionModules {
  registry: Registry;
  store: OwnershipStore;
  hostPort: HostPort;
}

/** Something to be done at a host before it gets its lease. */
interface Duty {
  name: string;
  act: () => Promise<unknown>;
}

export class HostAdmission {
  readonly #modules: AdmissionModules;

  constructor(modules: AdmissionModules) {
    this.#modules = modules;
  }

  /**
   * Admits a host: the lease that it gets, in ms.
   * @throws RpcError when the request is malformed, the name is taken, or the host cannot be told what it
   *   must know.
   */
  async register(request: CoordinatorServiceRegisterHostRequest): Promise<number> {
    const { registry, store } = this.#modules;
    refuseMalformed(request);
    registry.refuseTaken(request.host, request.incarnation);
    const done = new Set<string>();
    // Again until nothing new was decided while the host was being told: the grant follows without a pause.
    for (;;) {
      const duties = this.#duties(request).filter(({ name }) => !done.has(name));
      if (duties.length === 0) break;
      await Promise.all(duties.map(({ act }) => act())).catch((error: unknown) => {
        throw new RpcError(
          'UNAVAILABLE',
          `host ${request.host} has to be told what became of its guests, and does not answer at its ` +
            `address ${request.address}: ${errorText(error)}; give it one that the coordinator can reach`,
        );
      });
      for (const { name } of duties) done.add(name);
    }
    registry.refuseTaken(request.host, request.incarnation);
    store.setIncarnation(request.host, request.incarnation);
    const isHeld = new Set(request.guests.map(({ guest }) => guest));
    for (const guest of store.tombstonesAt(request.host)) {
      if (done.has(`discard ${guest}`) || !isHeld.has(guest)) store.removeTombstone(guest, request.host);
    }
    registry.grant(request);
    return registry.leaseMs;
  }

  /** Renews a host's lease; false when it has to register again. */
  heartbeat(request: CoordinatorServiceHeartbeatRequest): boolean {
    refuseTooMany(request.guests);
    return this.#modules.registry.renew(request);
  }

  /** What has to be done at a host before it gets its lease. */
  #duties(request: CoordinatorServiceRegisterHostRequest): Duty[] {
    const { store, hostPort } = this.#modules;
    const { host, address } = request;
    return request.guests.flatMap((held): Duty[] => {
      const { guest } = held;
      const facts = { host, held, record: store.guest(guest), tombstoned: store.isTombstoned(guest, host) };
      if (judgeHeld(facts) === 'discard') {
        return [{ name: `discard ${guest}`, act: () => hostPort.destroyGuest(address, guest) }];
      }
      const decisions = decisionsToTell(host, held, store.closedHandoversOf(guest, host));
      return decisions.map(({ migration, winner: decidedOwner }) => ({
        name: `tell ${guest} ${migration}`,
        act: () => hostPort.queryHandover(address, { guest, migration, decidedOwner }),
      }));
    });
  }
}

function refuseMalformed(request: CoordinatorServiceRegisterHostRequest): void {
  const refuse = (problem: string): never => {
    throw new RpcError('INVALID_ARGUMENT', `register host: ${problem}`);
  };
  const problem = nameProblem(request.host);
  if (problem !== undefined) refuse(`name ${problem}`);
  const { textCharactersMax } = COORDINATOR_LIMITS;
  if (!/^.+:\d{1,5}$/.test(request.address) || request.address.length > textCharactersMax) {
    refuse(`address "${request.address.slice(0, 80)}" is not "host:port"`);
  }
  if (request.incarnation === '' || request.incarnation.length > textCharactersMax) {
    refuse(
      `the incarnation has ${request.incarnation.length} characters; allowed is 1 to ${textCharactersMax}`,
    );
  }
  refuseTooMany(request.guests);
}

function refuseTooMany(guests: readonly HeldGuest[]): void {
  const { heldGuestsMax } = COORDINATOR_LIMITS;
  if (guests.length <= heldGuestsMax) return;
  const message = `a host says that it holds ${guests.length} guests; allowed are at most ${heldGuestsMax}`;
  throw new RpcError('INVALID_ARGUMENT', message);
}
