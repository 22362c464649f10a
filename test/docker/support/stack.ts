/**
 * godwit's containers on a test's engine: a copy of the repository as a user would have it, in which the
 * image is built and from which compose and the swarm start.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type ResultRecord, resultRecordSchema } from '../../../records/result-record.ts';
import { repositoryRoot } from '../../support/processes.ts';
import { type CommandResult, mustRun, run } from './commands.ts';
import { BASE_IMAGE, type Engine } from './engine.ts';

const DEADLINE_MS = 25 * 60_000;
const NOT_COPIED = ['.git', 'node_modules', 'results'];

/** A guest so small that a slow machine moves it in seconds. */
const SPEC = `name: small
warm-up: 100ms
fabric: { kind: process, hosts: 2 }
guest:
  memory: 4MiB
  workload: { kind: uniform, rate: 500 pages/s }
migration: { technique: [stop-and-copy, pre-copy] }
`;

/** A guest with an address on the containers' network, which clients in the runner's container ask. */
const CLIENTS = `name: own-address
warm-up: 500ms
fabric: { kind: process, hosts: 2 }
guest:
  memory: 4MiB
  workload: { kind: kv }
migration: { technique: [stop-and-copy, pre-copy] }
clients: { protocol: [udp, tcp], rate: 100 requests/s, via: address }
`;

/** What a container is, as far as its rights go. */
export interface ContainerRights {
  readonly service: string;
  /** Of every process in it. */
  readonly userIds: readonly string[];
  /**
   * The capabilities that a process can have at most, and those that some process has; as hexadecimal bits.
   */
  readonly boundingCapabilities: readonly string[];
  readonly effectiveCapabilities: readonly string[];
}

export class Stack {
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
  readonly #compose: readonly string[];

  private constructor(engine: Engine, compose: readonly string[]) {
    // Not `godwit`: that is the swarm's stack, whose network compose would take for its own.
    this.folder = join(engine.folder, 'testbed');
    this.#compose = compose;
    // Debian's docker-compose cannot build by itself unless both are 0.
    const builder = compose.length === 1 ? { DOCKER_BUILDKIT: '0', COMPOSE_DOCKER_CLI_BUILD: '0' } : {};
    const patience = process.env.GODWIT_PATIENCE ?? '6';
    // docker-compose gives up on an engine that takes more than a minute for an answer.
    const timeouts = { COMPOSE_HTTP_TIMEOUT: '900', DOCKER_CLIENT_TIMEOUT: '900' };
    this.env = { ...engine.env, ...builder, ...timeouts, GODWIT_BASE: BASE_IMAGE, GODWIT_PATIENCE: patience };
  }

  /** Copies the repository and builds the image. */
  static async build(engine: Engine): Promise<Stack> {
    const hasPlugin = (await engine.tryDocker('compose', 'version')).code === 0;
    const stack = new Stack(engine, hasPlugin ? ['docker', 'compose'] : ['docker-compose']);
    mkdirSync(stack.folder);
    for (const name of readdirSync(repositoryRoot)) {
      if (NOT_COPIED.includes(name)) continue;
      cpSync(join(repositoryRoot, name), join(stack.folder, name), { recursive: true });
    }
    writeFileSync(join(stack.folder, 'experiments', 'small.yaml'), SPEC);
    writeFileSync(join(stack.folder, 'experiments', 'own-address.yaml'), CLIENTS);
    const collect = [join(repositoryRoot, 'docker', 'collect-packages.ts')];
    await mustRun(process.execPath, [...collect, join(stack.folder, 'docker', 'packages')], {
      deadlineMs: DEADLINE_MS,
    });
    await stack.compose('build');
    return stack;
  }

  /** Runs `docker compose ...`, which has to succeed, and answers with its stdout. */
  compose(...args: string[]): Promise<string> {
    const [command, ...first] = this.#compose;
    return mustRun(command as string, [...first, ...args], this.#options({}));
  }

  /** Runs `docker compose ...` with settings of .env, whatever its exit code. */
  tryCompose(settings: Readonly<Record<string, string>>, ...args: string[]): Promise<CommandResult> {
    const [command, ...first] = this.#compose;
    return run(command as string, [...first, ...args], this.#options(settings));
  }

  /** Runs `docker ...` in the folder, with settings of .env. */
  docker(settings: Readonly<Record<string, string>>, ...args: string[]): Promise<string> {
    return mustRun('docker', args, this.#options(settings));
  }

  /** Runs `godwit ...` in the coordinator's container. */
  godwit(...args: string[]): Promise<string> {
    return this.compose('exec', '-T', 'coordinator', 'godwit', ...args);
  }

  /** The results of every experiment so far, by their paths. */
  results(): Map<string, ResultRecord> {
    const folder = join(this.folder, 'results');
    if (!existsSync(folder)) return new Map();
    const files = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter(({ name }) => name === 'results.json')
      .map(({ parentPath, name }) => join(parentPath, name));
    return new Map(
      files.map((file) => [
        relative(this.folder, file),
        resultRecordSchema.parse(JSON.parse(readFileSync(file, 'utf8'))),
      ]),
    );
  }

  /** The ids of a service's containers, or of all. */
  async containers(...services: string[]): Promise<string[]> {
    return (await this.compose('ps', '-q', ...services)).split('\n').filter((id) => id !== '');
  }

  /** Looks into /proc of a running container. */
  async rights(service: string, container: string): Promise<ContainerRights> {
    // Without awk, which the base need not have; a process may end while it is looked at.
    const look = 'cat /proc/[0-9]*/status 2> /dev/null || true';
    const lines = (await this.docker({}, 'exec', container, 'sh', '-c', look)).split('\n');
    const values = (field: string): string[] => {
      const found = lines.filter((line) => line.startsWith(`${field}:`));
      return [...new Set(found.flatMap((line) => line.split(/\s+/).slice(1).filter(Boolean)))].sort();
    };
    return {
      service,
      userIds: values('Uid'),
      boundingCapabilities: values('CapBnd'),
      effectiveCapabilities: values('CapEff'),
    };
  }

  #options(settings: Readonly<Record<string, string>>) {
    return { cwd: this.folder, env: { ...this.env, ...settings }, deadlineMs: DEADLINE_MS };
  }
}
