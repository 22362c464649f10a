/**
 * Every deadline of the testbed in one place, so that one setting can stretch them all: on a slow machine
 * `GODWIT_PATIENCE=4` multiplies each by four. Nothing waits without one.
 */

const PATIENCE_MAX = 100;

function readPatience(): number {
  const text = process.env.GODWIT_PATIENCE;
  if (text === undefined || text === '') return 1;
  const value = Number(text);
  if (value >= 1 && value <= PATIENCE_MAX) return value;
  throw new Error(`GODWIT_PATIENCE=${text}: expected a number from 1 to ${PATIENCE_MAX}`);
}

export const PATIENCE = readPatience();

const seconds = (count: number): number => count * 1000 * PATIENCE;

export const DEADLINES_MS = {
  /** A question that the other side answers from memory. */
  query: seconds(10),
  /** A change that the coordinator makes durable before it answers. */
  durable: seconds(15),
  /** A host process from its start to its registration; a coordinator to its first answer. */
  processStart: seconds(30),
  /** A child process from being asked to end until it is killed. */
  processStop: seconds(5),
  /** A worker thread from its start to its first message. */
  threadStart: seconds(20),
  /** A guest's NIC from its start to standing by for clients; a guest that arrives comes without when it is over. */
  uplink: seconds(5),
  /** A vCPU that was asked to pause, or a page-table epoch that was bumped: until every vCPU has passed. */
  safepoint: seconds(10),
  /** Filling and starting a guest of any size, and auditing one. */
  guestWork: seconds(120),
  /** The destination's connections and hellos, from the source's `listening`. */
  dataConnect: seconds(20),
  /**
   * A migration's ticket, for setting it up. Much longer than that takes: hosts compare it with clocks of the wall,
   * which need not agree to the minute.
   */
  ticket: seconds(600),
  /** A data connection on which nothing arrives although the other side owes something. */
  dataSilence: seconds(30),
  /** The last word of a host that ends a migration: until it has left, and until it has come. */
  lastWord: seconds(1),
  /** From COMMIT to RESUMED before the source asks the witness. */
  commitAnswer: seconds(5),
  /** The ledger's way after the guest was freed. */
  ledger: seconds(60),
  /** A probe of a link that carries nothing, besides the time that it measures: both its parts wait for data. */
  probe: seconds(70),
  /** A probe of a dirty rate, besides the time that it watches: its thread's start, its passes over the guest. */
  dirtyRate: seconds(40),
  /** Shaping a device: some tens of tc commands. */
  network: seconds(30),
  /** A handover that the witness is asked to resolve; longer than any lease. */
  resolve: seconds(60),
} as const;
