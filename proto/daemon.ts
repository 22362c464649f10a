/**
 * How the coordinator and a host live as processes: one line of JSON on stdout when they serve,
 * `{"ready":{"address":"127.0.0.1:40123"}}`, and an end at SIGTERM, at SIGINT, or, when somebody owns them, when
 * their stdin ends because whoever started them is gone.
 */

import { flushCompileCache } from 'node:module';
import { errorText } from './errors.ts';

/** What such a process runs. */
export interface Served {
  readonly address: string;
  close(): Promise<void>;
}

export interface DaemonSettings<Running extends Served> {
  /** For messages: "coordinator", "host". */
  readonly name: string;
  readonly isOwned: boolean;
  readonly start: () => Promise<Running>;
  /** What a signal has to wait for before the end; a second one does not wait. */
  readonly beforeEnd?: ((running: Running, signal: NodeJS.Signals) => Promise<void>) | undefined;
}

/** Runs until it is asked to end: exit code 0, or 1 when it cannot start or not end in order. */
export async function runDaemon<Running extends Served>(settings: DaemonSettings<Running>): Promise<void> {
  const { name, isOwned, start } = settings;
  if (isOwned) {
    // Not in order on purpose: whoever started us is gone, and so is everybody who would wait for an orderly
    // end; what is on record is on the disk at any moment.
    process.stdin.resume().on('end', () => process.exit(0));
  }
  try {
    const running = await start();
    endAtSignal(running, settings);
    process.stdout.write(`${JSON.stringify({ ready: { address: running.address } })}\n`);
    // Not only at the end, as Node would: so that the next process finds what this one has compiled.
    flushCompileCache();
  } catch (error) {
    process.stderr.write(`godwit ${name}: ${errorText(error)}\n`);
    process.exit(1);
  }
}

function endAtSignal<Running extends Served>(
  running: Running,
  { name, beforeEnd }: DaemonSettings<Running>,
): void {
  let isEnding = false;
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (isEnding) {
      // Whoever asks twice does not want to wait; an end with nothing before it is never long.
      if (beforeEnd !== undefined) process.exit(1);
      return;
    }
    isEnding = true;
    try {
      await beforeEnd?.(running, signal);
      await running.close();
      process.exit(0);
    } catch (error) {
      process.stderr.write(`godwit ${name}: ending: ${errorText(error)}\n`);
      process.exit(1);
    }
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void end(signal));
}
