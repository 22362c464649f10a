/** Runs the system's own commands for the network: tc and ip. */

import { execFile } from 'node:child_process';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { errorText } from '../../proto/errors.ts';
import type { Command } from './tc-commands.ts';

/**
 * Runs a command to its end and answers what it printed. @throws Error with the command and what it answered
 */
export function run([file, ...args]: Command): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(file!, args, { timeout: DEADLINES_MS.query }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else {
        const answer = stderr.trim().replaceAll('\n', ' ') || errorText(error);
        reject(new Error(`${[file, ...args].join(' ')}: ${answer}`, { cause: error }));
      }
    });
  });
}
