/**
 * A Docker engine that leaves nothing behind. It runs in its own network, mount and process namespaces: its
 * bridges, firewall rules, mounts and containers go with them, even when the tests are killed, and an engine
 * that the machine already runs is not disturbed. Its files are below one temporary folder.
 */
import { existsSync, mkdtempSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { descendants, isRunning, StartedProcess } from '../../support/processes.ts';
import { baseArchive } from './base-image.ts';
import { type CommandResult, mustRun, run, waitUntil } from './commands.ts';
import { installMissingPrograms, PROGRAM_PATH } from './programs.ts';

const START_DEADLINE_MS = 10 * 60_000;
const STOP_DEADLINE_MS = 5 * 60_000;
const COMMAND_DEADLINE_MS = 20 * 60_000;
const LOG_LENGTH = 8 * 1024;
const CGROUPS = '/sys/fs/cgroup';
/** An engine makes it, whatever its settings. */
const KEY = '/etc/docker/key.json';
const SCRIPT = join(dirname(fileURLToPath(import.meta.url)), 'engine.sh');
/** Settings of the user's own engine and stack are not for this one. */
const FOREIGN = /^(DOCKER|COMPOSE|GODWIT)_/;

/** The address that the engine can announce to a swarm; see engine.sh. */
export const SWARM_ADDRESS = '10.213.0.1';
export const BASE_IMAGE = 'godwit-test-base:latest';

export class Engine {
  /** For whatever else the tests write: goes with the engine. */
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
  readonly #process: StartedProcess;
  readonly #hadKey = existsSync(KEY);

  private constructor(folder: string) {
    this.folder = folder;
    const own = Object.entries(process.env).filter(([name]) => !FOREIGN.test(name));
    this.env = {
      ...Object.fromEntries(own),
      PATH: PROGRAM_PATH,
      DOCKER_HOST: `unix://${folder}/docker.sock`,
    };
    // The end of this process ends unshare, whose end ends process 1 of the namespace and with it all others
    // there.
    this.#process = new StartedProcess(
      'setpriv',
      [
        ...['--pdeathsig', 'KILL'],
        ...['unshare', '--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'],
        ...[SCRIPT, folder, basename(folder)],
      ],
      { env: { PATH: PROGRAM_PATH }, stdin: 'ignore' },
    );
  }

  /**
   * Installs what is missing, starts an engine and gives it an image to build on.
   * @throws Error that says why this machine cannot; whatever had been started has ended then.
   */
  static async start(): Promise<Engine> {
    if (process.platform !== 'linux') throw new Error(`Docker needs Linux, and this is ${process.platform}`);
    if (process.getuid?.() !== 0) throw new Error('only root can start a Docker engine');
    await installMissingPrograms();
    const archive = await baseArchive();
    const engine = new Engine(mkdtempSync(join(tmpdir(), 'godwit-docker-')));
    try {
      await engine.#answers();
      const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
      await engine.docker('import', '--change', `ENV PATH=${path}`, archive, BASE_IMAGE);
      return engine;
    } catch (error) {
      await engine.close();
      throw error;
    }
  }

  /** Runs `docker ...`, which has to succeed, and answers with its stdout. */
  docker(...args: string[]): Promise<string> {
    return mustRun('docker', args, { env: this.env, deadlineMs: COMMAND_DEADLINE_MS });
  }

  /** Runs `docker ...`, whatever its exit code. */
  tryDocker(...args: string[]): Promise<CommandResult> {
    return run('docker', args, { env: this.env, deadlineMs: COMMAND_DEADLINE_MS });
  }

  /** Ends the engine and all that runs in it, and removes its files. @throws Error when something stays. */
  async close(): Promise<void> {
    const processes = descendants(this.#process.pid);
    const daemon = processes.find(({ command }) => command.startsWith('dockerd '));
    if (daemon !== undefined) process.kill(daemon.pid, 'SIGTERM');
    const hasEnded = (): boolean => this.#process.status !== undefined;
    await waitUntil(hasEnded, () => '', STOP_DEADLINE_MS).catch(() => this.#process.kill('SIGKILL'));
    await waitUntil(
      () => hasEnded() && !processes.some(isRunning),
      () => `the end of the engine's processes: ${JSON.stringify(processes.filter(isRunning))}`,
      STOP_DEADLINE_MS,
    );
    removeCgroups(basename(this.folder));
    if (!this.#hadKey) rmSync(KEY, { force: true });
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #answers(): Promise<void> {
    await waitUntil(
      async () => {
        if (this.#process.status !== undefined) throw new Error(`the engine ended: ${this.#log()}`);
        return (await this.tryDocker('version')).code === 0;
      },
      () => `an answer of the engine: ${this.#log()}`,
      START_DEADLINE_MS,
    );
  }

  #log(): string {
    return this.#process.describe().slice(-LOG_LENGTH);
  }
}

/**
 * The control groups of the engine's containers, in every hierarchy; without processes, folders can be
 * removed.
 */
function removeCgroups(name: string): void {
  if (!existsSync(CGROUPS)) return;
  const hierarchies = readdirSync(CGROUPS, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const top of [CGROUPS, ...hierarchies.map((entry) => join(CGROUPS, entry.name))]) {
    if (existsSync(join(top, name))) removeGroup(join(top, name));
  }
}

function removeGroup(group: string): void {
  for (const entry of readdirSync(group, { withFileTypes: true })) {
    if (entry.isDirectory()) removeGroup(join(group, entry.name));
  }
  rmdirSync(group);
}
