/**
 * Shows what is going on: on a terminal the last line is drawn anew with each report; elsewhere lines are
 * added, for a migration at most one per second, one per round and one per phase. What a migration has to say
 * to people has a line of its own, which stays.
 */
import type { WriteStream } from 'node:tty';
import type { MigrationProgress } from '../../proto/generated/godwit/v1/migration.ts';
import { progressText } from './progress-line.ts';

const LINE_EVERY_MS = 1000;
const COLUMNS_UNKNOWN = 80;
const ERASE_LINE = '\r\u001b[2K';

export class ProgressDisplay {
  readonly #stream: WriteStream;
  #drawn = false;
  /** Of each migration by its label: its phase and round, and when it last had a line. */
  readonly #last = new Map<string, { readonly stage: string; readonly atMs: number }>();
  /** What it said last, by its label. */
  readonly #notes = new Map<string, string>();

  /** @param stream where to: stdout, or stderr when stdout is kept for JSON. */
  constructor(stream: WriteStream) {
    this.#stream = stream;
  }

  /** A line that stays. */
  line(text: string): void {
    this.#erase();
    this.#stream.write(`${text}\n`);
  }

  /** What is being done now: the line is drawn anew on a terminal, and left out elsewhere. */
  status(text: string): void {
    if (this.#stream.isTTY) this.#draw(text);
  }

  /** The state of a migration. @param label what is moved and how. */
  migration(label: string, progress: MigrationProgress): void {
    const text = `${label}  ${progressText(progress)}`;
    if (progress.note !== '' && progress.note !== this.#notes.get(label))
      this.line(`${label}: ${progress.note}`);
    this.#notes.set(label, progress.note);
    if (this.#stream.isTTY) {
      this.#draw(text);
      return;
    }
    const now = performance.now();
    const last = this.#last.get(label);
    const stage = `${progress.phase} ${progress.round}`;
    if (last !== undefined && stage === last.stage && now - last.atMs < LINE_EVERY_MS) return;
    this.#last.set(label, { stage, atMs: now });
    this.line(text);
  }

  /** Takes the drawn line away, before anything else is printed. */
  end(): void {
    this.#erase();
    this.#last.clear();
    this.#notes.clear();
  }

  #draw(text: string): void {
    // A line that wrapped could not be erased.
    const columns = (this.#stream.columns || COLUMNS_UNKNOWN) - 1;
    this.#stream.write(ERASE_LINE + (text.length > columns ? `${text.slice(0, columns - 1)}…` : text));
    this.#drawn = true;
  }

  #erase(): void {
    if (this.#drawn) this.#stream.write(ERASE_LINE);
    this.#drawn = false;
  }
}
