/**
 * Runs the development tools of node_modules/.bin and collects what they print, for the scripts that call
 * them one after the other. Puts that folder first on PATH, so that a tool finds its plug-ins and the
 * project's own Node however the script was started.
 */
import { spawn } from 'node:child_process';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's top folder. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

export type ToolResult = { readonly passed: boolean; readonly output: string };

/**
 * Runs one tool in the repository's top folder.
 * @param command the tool's name and its arguments
 * @returns whether it ended with exit code 0, and all it wrote to both of its streams
 */
export function runTool(command: readonly [string, ...string[]]): Promise<ToolResult> {
  const [name, ...args] = command;
  const path = [join(root, 'node_modules', '.bin'), process.env.PATH ?? ''].join(delimiter);
  const child = spawn(name, args, {
    cwd: root,
    env: { ...process.env, PATH: path },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  const text = (): string => Buffer.concat(chunks).toString().trim();
  return new Promise((resolve) => {
    child.on('error', (error) =>
      resolve({ passed: false, output: `${name} did not start: ${error.message}` }),
    );
    child.on('close', (code, signal) => {
      const end = code === 0 ? '' : `\n${name} ended with ${signal ?? `exit code ${code}`}`;
      resolve({ passed: code === 0, output: `${text()}${end}`.trim() });
    });
  });
}
