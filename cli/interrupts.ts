/**
 * Ctrl-C and its like. The first asks for an orderly end: whoever works hears of it through the signal. The
 * second ends the command at once; child processes notice that their owner is gone and end too.
 */
import { once } from 'node:events';
import { EXIT } from './exit.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * npm and the launcher pass on a Ctrl-C that the terminal has sent already: what comes so soon is the same
 * one.
 */
const SAME_PRESS_MS = 1000;

/** What an interrupted command's work ends with. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** From now on interrupts end in the signal that this returns, with an Interrupted as its reason. */
export function catchInterrupts(): AbortSignal {
  const controller = new AbortController();
  let firstAtMs: number | undefined;
  const interrupt = (): void => {
    if (firstAtMs === undefined) {
      firstAtMs = performance.now();
      process.stderr.write('\nending in order; Ctrl-C once more ends at once\n');
      controller.abort(new Interrupted('interrupted'));
    } else if (performance.now() - firstAtMs > SAME_PRESS_MS) {
      process.exit(EXIT.interrupted);
    }
  };
  for (const signal of SIGNALS) process.on(signal, interrupt);
  // The launcher of an older Node was killed.
  process.on('disconnect', interrupt);
  process.channel?.unref();
  return controller.signal;
}

/** Waits for a signal that has not been aborted; a signal alone keeps no process alive. */
export async function stayUntil(signal: AbortSignal): Promise<void> {
  const keepAlive = setInterval(() => {}, 60_000);
  await once(signal, 'abort');
  clearInterval(keepAlive);
}
