/**
 * Who owns each guest: the witness's memory, in SQLite. Every change is a compare-and-set on (owner, epoch,
 * migration) and on the disk (WAL, synchronous=FULL) before the method returns. Reads come from a copy in
 * memory, which only this class changes and only after the disk has.
 */

import { DatabaseSync, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { errorText } from '../proto/errors.ts';
import { GuestSpec } from '../proto/generated/godwit/v1/guest.ts';
import { COORDINATOR_LIMITS } from './limits.ts';

/** "GDWT": tells a state file of godwit from another program's database. */
const APPLICATION_ID = 0x47445754;
const SCHEMA_VERSION = 1;

const SCHEMA = `
  CREATE TABLE guests (
    name TEXT PRIMARY KEY, spec BLOB NOT NULL, owner TEXT NOT NULL, epoch INTEGER NOT NULL,
    handover_migration TEXT, handover_destination TEXT
  ) STRICT;
  CREATE TABLE closed_handovers (
    number INTEGER PRIMARY KEY AUTOINCREMENT, guest TEXT NOT NULL, migration TEXT NOT NULL,
    source TEXT NOT NULL, destination TEXT NOT NULL, epoch INTEGER NOT NULL, winner TEXT NOT NULL,
    UNIQUE (guest, migration)
  ) STRICT;
  CREATE TABLE tombstones (
    number INTEGER PRIMARY KEY AUTOINCREMENT, guest TEXT NOT NULL, host TEXT NOT NULL, UNIQUE (guest, host)
  ) STRICT;
  CREATE TABLE hosts (name TEXT PRIMARY KEY, incarnation TEXT NOT NULL) STRICT;
  CREATE TABLE leases (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), lease_ms REAL NOT NULL) STRICT;
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

/** A guest as the witness has it on record. */
export interface GuestRecord {
  readonly spec: GuestSpec;
  readonly owner: string;
  readonly epoch: bigint;
  /** The open handover, if there is one: the guest moves from `owner` to `destination`. */
  readonly handover: { readonly migration: string; readonly destination: string } | undefined;
}

/** A handover by its names; `epoch` is the guest's at the source. */
export interface HandoverKey {
  readonly guest: string;
  readonly epoch: bigint;
  readonly migration: string;
}

/** How a handover ended. */
export interface ClosedHandover extends HandoverKey {
  readonly source: string;
  readonly destination: string;
  readonly winner: string;
}

export class OwnershipStore {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #records = new Map<string, GuestRecord>();

  /**
   * @param path The state file; `:memory:` keeps nothing.
   * @throws Error with a sentence when it is not godwit's, of a newer version, or another coordinator has it.
   */
  constructor(path: string) {
    let database: DatabaseSync | undefined;
    try {
      database = new DatabaseSync(path);
      this.#database = prepareDatabase(database);
    } catch (error) {
      database?.close();
      throw new Error(`state file ${path}: ${remedy(errorText(error))}`, { cause: error });
    }
    for (const row of this.#all('SELECT * FROM guests')) this.#remember(row);
  }

  guest(name: string): GuestRecord | undefined {
    return this.#records.get(name);
  }

  /** All guests by name, in the order of their names. */
  guests(): [string, GuestRecord][] {
    return [...this.#records].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  get guestCount(): number {
    return this.#records.size;
  }

  /** False when the name is taken. A tombstone of this guest at this host is forgotten. */
  createGuest(spec: GuestSpec, owner: string, epoch: bigint): boolean {
    return this.#transaction(() => {
      const changed = this.#run(
        'INSERT OR IGNORE INTO guests (name, spec, owner, epoch) VALUES (?, ?, ?, ?)',
        spec.name,
        GuestSpec.encode(spec).finish(),
        owner,
        epoch,
      );
      if (changed) this.#run('DELETE FROM tombstones WHERE guest = ? AND host = ?', spec.name, owner);
      this.#reload(spec.name);
      return changed;
    });
  }

  /** Forgets a guest; `hostsAway` may still have it and are to discard it when they come back. */
  deleteGuest(name: string, hostsAway: readonly string[]): void {
    this.#transaction(() => {
      this.#run('DELETE FROM guests WHERE name = ?', name);
      this.#run('DELETE FROM closed_handovers WHERE guest = ?', name);
      for (const host of hostsAway) {
        this.#run('INSERT OR IGNORE INTO tombstones (guest, host) VALUES (?, ?)', name, host);
      }
      this.#run(
        'DELETE FROM tombstones WHERE number <= (SELECT max(number) FROM tombstones) - ?',
        COORDINATOR_LIMITS.tombstonesMax,
      );
      this.#reload(name);
    });
  }

  /** Whether a guest was destroyed while this host had it and was away. */
  isTombstoned(guest: string, host: string): boolean {
    return this.#all('SELECT 1 FROM tombstones WHERE guest = ? AND host = ?', guest, host).length > 0;
  }

  /** The guests that were destroyed while this host was away. */
  tombstonesAt(host: string): string[] {
    return this.#all('SELECT guest FROM tombstones WHERE host = ?', host).map((row) => String(row.guest));
  }

  /** The hosts that were away when a guest was destroyed and may still have it. */
  tombstoneHosts(guest: string): string[] {
    return this.#all('SELECT host FROM tombstones WHERE guest = ?', guest).map((row) => String(row.host));
  }

  removeTombstone(guest: string, host: string): void {
    this.#run('DELETE FROM tombstones WHERE guest = ? AND host = ?', guest, host);
  }

  /** Opens a handover; false unless `source` owns the guest at this epoch, with no handover open. */
  beginHandover(key: HandoverKey, source: string, destination: string): boolean {
    const changed = this.#run(
      `UPDATE guests SET handover_migration = ?, handover_destination = ?
       WHERE name = ? AND owner = ? AND epoch = ? AND handover_migration IS NULL`,
      key.migration,
      destination,
      key.guest,
      source,
      key.epoch,
    );
    this.#reload(key.guest);
    return changed;
  }

  /**
   * Closes the open handover for its source or its destination; false unless this one is open at this epoch.
   */
  closeHandover(key: HandoverKey, winner: 'source' | 'destination'): boolean {
    return this.#transaction(() => {
      const record = this.#records.get(key.guest);
      const handover = record?.handover;
      if (record === undefined || handover === undefined) return false;
      const isMoved = winner === 'destination';
      const winnerName = isMoved ? handover.destination : record.owner;
      const changed = this.#run(
        `UPDATE guests SET owner = ?, epoch = ?, handover_migration = NULL, handover_destination = NULL
         WHERE name = ? AND owner = ? AND epoch = ? AND handover_migration = ?`,
        winnerName,
        isMoved ? key.epoch + 1n : key.epoch,
        key.guest,
        record.owner,
        key.epoch,
        key.migration,
      );
      if (changed) this.#insertClosed(key, record.owner, handover.destination, winnerName);
      this.#reload(key.guest);
      return changed;
    });
  }

  /**
   * Notes that a migration ended before it began its handover, so that a BeginHandover that comes late is
   * refused.
   */
  closeUnbegun(key: HandoverKey, owner: string): void {
    this.#transaction(() => this.#insertClosed(key, owner, '', owner));
  }

  closedHandover(guest: string, migration: string): ClosedHandover | undefined {
    const sql = 'SELECT * FROM closed_handovers WHERE guest = ? AND migration = ?';
    return this.#all(sql, guest, migration).map(closedFromRow)[0];
  }

  /** The handovers of a guest in which a host was the source or the destination, the latest first. */
  closedHandoversOf(guest: string, host: string): ClosedHandover[] {
    const sql = `SELECT * FROM closed_handovers WHERE guest = ? AND (source = ? OR destination = ?)
                 ORDER BY number DESC`;
    return this.#all(sql, guest, host, host).map(closedFromRow);
  }

  /** The last process that registered under each name. */
  incarnations(): Map<string, string> {
    const rows = this.#all('SELECT name, incarnation FROM hosts');
    return new Map(rows.map((row) => [String(row.name), String(row.incarnation)]));
  }

  setIncarnation(host: string, incarnation: string): void {
    this.#run('INSERT OR REPLACE INTO hosts (name, incarnation) VALUES (?, ?)', host, incarnation);
  }

  /**
   * Sets how long the leases are from now on; answers how long those may be that the last coordinator gave.
   */
  setLeaseMs(leaseMs: number): number {
    const former = this.#all('SELECT lease_ms FROM leases')[0]?.lease_ms;
    this.#run('INSERT OR REPLACE INTO leases (only_row, lease_ms) VALUES (1, ?)', leaseMs);
    return Math.max(leaseMs, Number(former ?? 0));
  }

  close(): void {
    this.#database.close();
  }

  #insertClosed(key: HandoverKey, source: string, destination: string, winner: string): void {
    this.#run(
      `INSERT OR IGNORE INTO closed_handovers (guest, migration, source, destination, epoch, winner)
       VALUES (?, ?, ?, ?, ?, ?)`,
      key.guest,
      key.migration,
      source,
      destination,
      key.epoch,
      winner,
    );
    this.#run(
      `DELETE FROM closed_handovers WHERE guest = ? AND number NOT IN
       (SELECT number FROM closed_handovers WHERE guest = ? ORDER BY number DESC LIMIT ?)`,
      key.guest,
      key.guest,
      COORDINATOR_LIMITS.closedHandoversMax,
    );
  }

  #reload(name: string): void {
    this.#records.delete(name);
    for (const row of this.#all('SELECT * FROM guests WHERE name = ?', name)) this.#remember(row);
  }

  #remember(row: Record<string, SQLOutputValue>): void {
    const { handover_migration: migration, handover_destination: destination } = row;
    const isOpen = migration !== null && destination !== null;
    this.#records.set(String(row.name), {
      spec: GuestSpec.decode(row.spec as Uint8Array),
      owner: String(row.owner),
      epoch: BigInt(row.epoch as bigint),
      handover: isOpen ? { migration: String(migration), destination: String(destination) } : undefined,
    });
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#database.prepare(sql);
    statement.setReadBigInts(true);
    this.#statements.set(sql, statement);
    return statement;
  }

  #all(sql: string, ...values: string[]): Record<string, SQLOutputValue>[] {
    return this.#statement(sql).all(...values);
  }

  /** Whether a row was changed. */
  #run(sql: string, ...values: (string | number | bigint | Uint8Array)[]): boolean {
    return Number(this.#statement(sql).run(...values).changes) > 0;
  }

  #transaction<Result>(change: () => Result): Result {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      const result = change();
      this.#database.exec('COMMIT');
      return result;
    } catch (error) {
      this.#database.exec('ROLLBACK');
      throw error;
    }
  }
}

function closedFromRow(row: Record<string, SQLOutputValue>): ClosedHandover {
  return {
    guest: String(row.guest),
    migration: String(row.migration),
    source: String(row.source),
    destination: String(row.destination),
    epoch: BigInt(row.epoch as bigint),
    winner: String(row.winner),
  };
}

function prepareDatabase(database: DatabaseSync): DatabaseSync {
  const pragma = (name: string): number =>
    Number(Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0]);
  // Exclusive: two coordinators with one file would be two witnesses.
  database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA busy_timeout = 0;');
  const version = pragma('user_version');
  const applicationId = pragma('application_id');
  const tables = database.prepare('SELECT count(*) AS count FROM sqlite_schema').get()?.count;
  const isNew = applicationId === 0 && version === 0 && Number(tables) === 0;
  if (!isNew && applicationId !== APPLICATION_ID) throw new Error("is another program's database");
  if (version > SCHEMA_VERSION) {
    throw new Error(
      `has version ${version}, and this godwit knows versions up to ${SCHEMA_VERSION}; ` +
        'use the godwit that wrote it, or a newer one',
    );
  }
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
  if (isNew) database.exec(`BEGIN IMMEDIATE; ${SCHEMA} COMMIT;`);
  return database;
}

function remedy(text: string): string {
  if (/not a database|another program/.test(text)) {
    return `${text.replace(/^file /, '')}; name another file, or remove this one to begin without any guests`;
  }
  if (/locked/.test(text)) return 'another coordinator has it; end that one, or name another file';
  if (/unable to open/.test(text)) return `${text}; its folder has to exist and to be writable`;
  return text;
}
