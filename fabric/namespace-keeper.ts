/**
 * The process that makes a run's network namespaces and takes them away: a small shell that runs the ip
 * commands that it is told, one at a time, and removes all that carries the run's name when its stdin ends.
 * That happens when it is closed and also when its owner is killed, so nothing stays behind either way.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { DEADLINES_MS } from '../proto/deadlines.ts';
import { FabricUnavailableError } from './fabric.ts';

/**
 * Each line of stdin is an ip command; each gets one line of answer, its exit code and what it printed. A
 * namespace that is gone when it is to be deleted was deleted by somebody else.
 */
const SCRIPT = `
trap '' INT TERM HUP
set -f
while read -r command; do
  answer=$(ip $command 2>&1)
  echo "$?" $answer
done
set +f
failed=0
for file in /run/netns/godwit-"$1"-*; do
  [ -e "$file" ] || continue
  answer=$(ip netns delete "\${file##*/}" 2>&1) || [ ! -e "$file" ] || {
    echo "ip netns delete \${file##*/}: $answer" >&2
    failed=1
  }
done
rm -f /run/godwit-"$1".sock
exit "$failed"`;

/** The shell's exit code for a program that there is not. */
const COMMAND_NOT_FOUND = '127';
const ERROR_LENGTH_MAX = 16 * 1024;

export class NamespaceKeeper {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string, undefined>;
  readonly #lines: Interface;
  readonly #ended: Promise<string | undefined>;

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout });
    this.#answers = this.#lines[Symbol.asyncIterator]();
    let errors = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-ERROR_LENGTH_MAX);
    });
    // A keeper that is gone no longer reads; that it is gone is told by its missing answer.
    child.stdin.on('error', () => {});
    this.#ended = new Promise((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('close', (code, signal) =>
        resolve(code === 0 ? undefined : errors.trim() || `it was ended (${signal ?? `exit code ${code}`})`),
      );
    });
  }

  /** @param run the name that all its namespaces carry */
  static start(run: string): NamespaceKeeper {
    // A process group of its own: Ctrl-C in a terminal reaches only the owner.
    return new NamespaceKeeper(spawn('sh', ['-c', SCRIPT, 'godwit-keeper', run], { detached: true }));
  }

  /**
   * Runs `ip` with these words, none of which holds a space; not while another command runs.
   * @throws Error with the command and its answer
   */
  async ip(words: readonly string[]): Promise<void> {
    const command = `ip ${words.join(' ')}`;
    this.#child.stdin.write(`${words.join(' ')}\n`);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), DEADLINES_MS.query);
    const ended = this.#ended.then((problem) => {
      throw new Error(`${command}: no answer: ${problem ?? 'the keeper of the namespaces has ended'}`);
    });
    const { value = '', done } = await Promise.race([this.#answers.next(), ended]);
    clearTimeout(timer);
    if (done === true) await ended;
    const [code, ...answer] = value.split(' ');
    if (code === COMMAND_NOT_FOUND) {
      throw new FabricUnavailableError(`${command}: the program ip is missing; install iproute2`);
    }
    if (code !== '0') throw new Error(`${command}: ${answer.join(' ') || `exit code ${code}`}`);
  }

  /**
   * Removes all that carries the run's name, and ends; may be called more than once.
   * @throws Error with the ip command and its answer
   */
  async close(): Promise<void> {
    this.#child.stdin.end();
    const problem = await this.#ended;
    this.#lines.close();
    if (problem === undefined) return;
    throw new Error(`cannot remove network namespaces: ${problem}; \`godwit clean\` tries again`);
  }
}
