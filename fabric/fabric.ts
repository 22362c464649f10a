/**
 * What runs the coordinator and the hosts of a testbed: the fabric. An experiment and the command line see
 * only this; whether hosts are local processes or something else is behind it.
 */

/** What every fabric is told. */
export interface FabricSettings {
  readonly hostCount: number;
  /** What each host may give to guests. */
  readonly memoryBytesPerHost: number;
  /** Where the coordinator keeps who owns which guest; `:memory:` when nothing has to outlive it. */
  readonly stateFile: string;
  readonly leaseMs: number;
  /** The process fabric: where the coordinator listens, "address:port"; default: any free port of loopback. */
  readonly listen?: string | undefined;
  /** Ends the start. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Told of a process that ended without being asked to: the coordinator or a host, and a sentence about it.
   */
  readonly died?: ((part: 'coordinator' | 'host', what: string) => void) | undefined;
}

/** One host of a fabric; `pid` changes when it is restarted. */
export interface FabricHost {
  readonly name: string;
  readonly pid: number;
  readonly running: boolean;
}

/** Where the guests' clients run: outside of all hosts. */
export interface ClientSide {
  /** The command that brings a process there; empty when it is where we are. */
  readonly prefix: readonly string[];
  /** The IPv4 address under which hosts reach it there. */
  readonly address: string;
  /** "address/bits": from where guests may have addresses of their own; undefined where none can reach a client. */
  readonly guestAddresses: string | undefined;
}

export interface Fabric {
  /** Where the coordinator's service answers whoever is on this machine: "address:port" or "unix:path". */
  readonly coordinatorAddress: string;
  readonly client: ClientSide;
  /** host-1 to host-N. */
  hosts(): FabricHost[];
  /** Ends a host at once, as a power cut would; resolves when it is gone. */
  kill(name: string): Promise<void>;
  /** Starts a host that has ended, under the same name; resolves when it has registered. */
  restart(name: string): Promise<void>;
  /** Ends everything; resolves when no process is left. May be called more than once. */
  close(): Promise<void>;
}

/** This machine, or this user, cannot have the fabric that was asked for; nothing has been started. */
export class FabricUnavailableError extends Error {
  override readonly name = 'FabricUnavailableError';
}
