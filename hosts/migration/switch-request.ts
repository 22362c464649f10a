/**
 * The word by which somebody asks a running migration to go on as post-copy. Two threads decide on it, so only
 * compare-and-set changes it: the main thread, which hears from users, and the mover, which at some time ends its
 * rounds by itself. Who is first wins, and a request that was answered with yes is heeded.
 */

/** Nobody has asked, and the rounds go on. */
const OPEN = 0;
/** Somebody has asked. */
const REQUESTED = 1;
/** The rounds ended by themselves, or there are none. */
const CLOSED = 2;

export class SwitchRequest {
  /** For another thread's view of the same word. */
  readonly shared: SharedArrayBuffer;
  readonly #word: Int32Array;

  constructor(shared = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#word = new Int32Array(shared);
  }

  get isRequested(): boolean {
    return Atomics.load(this.#word, 0) === REQUESTED;
  }

  /** The main thread's: asks for the switch. False when that was done before, or comes too late. */
  request(): boolean {
    return Atomics.compareExchange(this.#word, 0, OPEN, REQUESTED) === OPEN;
  }

  /** The mover's, at the end of its rounds: false when somebody has asked for the switch before. */
  close(): boolean {
    return Atomics.compareExchange(this.#word, 0, OPEN, CLOSED) !== REQUESTED;
  }
}
