/**
 * What connects a guest's NIC with its clients outside: a forwarder that keeps one address for the guest, or the
 * guest's own address on this host. The NIC's thread (nic-thread.ts) has one; it hands requests in and responses out
 * and knows of addresses nothing.
 */

/**
 * To whom a response goes: FLOW_BYTES bytes (proto/guest-network.ts) that only the uplink understands. It stands with
 * the request in guest memory and comes back with the response, also on another host: so it may name nothing that
 * only this process knows, such as an index into a table of its own.
 */
export type Flow = Uint8Array;

/** What an uplink asks of the NIC. */
export interface NicPort {
  /**
   * A message has come for the guest. False when the guest cannot have it now (the queue is full, or the guest stands
   * still): the uplink keeps it, as far as its limits allow, until `room()` is called.
   *
   * @param message at most MESSAGE_BYTES_MAX bytes (proto/guest-request.ts); copied before this answers
   */
  offer(flow: Flow, message: Uint8Array): boolean;
  /**
   * The flow of the last message that the guest has taken, here or on the host where it was before; zeroes when there
   * was none. To be asked when the guest runs here.
   */
  lastFlow(): Flow;
  /** The uplink can send again: what waited in the guest is to be sent. */
  ready(): void;
  /** What keeps clients from the guest from now on; empty when nothing does any more. */
  trouble(problem: string): void;
}

/** Where messages go in. */
export type NicInlet = Pick<NicPort, 'offer'>;

export interface Uplink {
  /**
   * Before the guest runs here: all that takes time. From here on it may offer.
   *
   * @throws Error in words for people when it cannot be had
   */
  start(port: NicPort): Promise<void>;
  /**
   * The guest runs here: makes it known to those outside, for the `round`-th time (from 1; proto Announce). The NIC
   * keeps the times. After a withdraw it begins again with 1.
   */
  announce(round: number): void;
  /** The guest does not run here any more and may run elsewhere: lets go of what makes it known here. */
  withdraw(): void;
  /** Whether responses can be sent now. Until `ready` they stay in the guest, and move with it. */
  readonly canSend: boolean;
  /** Sends a response; a flow that is not there any more is dropped. The bytes may change after it answers. */
  send(flow: Flow, message: Uint8Array): void;
  /** The guest can be offered messages again. */
  room(): void;
  /**
   * Lets go of everything, withdrawn or not; what was sent last may still be on its way. May be called at any time,
   * also while it starts.
   */
  close(): Promise<void>;
}
