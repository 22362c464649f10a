/**
 * What runs the coordinator and the hosts of a testbed: the fabric. An experiment and the command line see
 * only this; whether hosts are local processes or something else is behind it.
 */

/** One host of a fabric; `pid` changes when it is restarted. */
export interface FabricHost {
  readonly name: string;
  readonly pid: number;
  readonly running: boolean;
}

export interface Fabric {
  /** Where the coordinator's service answers, "address:port". */
  readonly coordinatorAddress: string;
  /** host-1 to host-N. */
  hosts(): FabricHost[];
  /** Ends a host at once, as a power cut would; resolves when it is gone. */
  kill(name: string): Promise<void>;
  /** Starts a host that has ended, under the same name; resolves when it has registered. */
  restart(name: string): Promise<void>;
  /** Ends everything; resolves when no process is left. May be called more than once. */
  close(): Promise<void>;
}
