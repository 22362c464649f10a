/**
 * A guest's own IPv4 address on this host's device: put there and made known, taken away again. Both happen within
 * the guest's downtime, so the ip command runs all the time and is only told what to do.
 *
 * Made known means a gratuitous ARP: with the setting `arp_notify` the kernel sends one for each address of a device
 * whose own hardware address is set, also when it is set to what it was. So nothing but ip is needed.
 *
 * Around ip is a shell that takes the address away when its stdin ends, which also happens when this process is
 * killed. Should the shell be killed as well, the label tells whose the address was (`removeStaleAddresses`).
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEADLINES_MS } from '../../proto/deadlines.ts';
import { run } from '../network/run-command.ts';

/** What the shell is called among the processes. */
const SHELL_NAME = 'godwit-address';
const SCRIPT = `ip -force -oneline -batch - 2>&1; ip address delete "$1" dev "$2" 2>/dev/null; true`;

/** What follows the device's name in the label of guests' addresses. */
const LABEL_END = ':g';

/** What ip and the kernel say of an address that is not there. */
const NOT_THERE = /Cannot assign requested address|Address not found/;
/** ip's words after those about the command that failed; batch lines count from 1. */
const FAILED = /^Command failed -:(\d+)$/;
/** What ip answers to this tells that it has done all that came before; each namespace has this device. */
const MARK = { command: 'link show dev lo', answer: /^1: lo:/ } as const;

export class GuestAddress {
  readonly #address: string;
  readonly #device: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<void>;
  /** The batch's lines so far: ip names a failed one by its number. */
  readonly #lines: string[] = [];
  /** Whoever waits for the answers to what was told, in order. */
  readonly #waiting: ((problem: Error | undefined) => void)[] = [];
  /** What ip said since the last line that says which command it was about. */
  #words: string[] = [];
  #problem: Error | undefined;

  private constructor(address: string, device: string) {
    this.#address = address;
    this.#device = device;
    const args = ['-c', SCRIPT, SHELL_NAME, `${address}/32`, device];
    // A process group of its own: Ctrl-C in a terminal reaches only the owner, whose end is told by stdin.
    this.#child = spawn('sh', args, { detached: true });
    // A shell that is gone no longer reads; that it is gone is told by `close`.
    this.#child.stdin.on('error', () => {});
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#heard(line));
    this.#ended = new Promise((resolve) => {
      this.#child.once('error', () => resolve());
      this.#child.once('close', () => resolve());
    });
  }

  /**
   * Gets ready to put the address on the device, where it is not afterwards, whichever guest had it there.
   *
   * @param address IPv4
   * @param device the one that carries the host's traffic
   * @throws Error when it is an address of the host itself, or with the ip command and its answer
   */
  static async start(address: string, device: string): Promise<GuestAddress> {
    refuseOwnAddress(address);
    const it = new GuestAddress(address, device);
    try {
      await it.withdraw();
    } catch (error) {
      await it.close();
      throw error;
    }
    return it;
  }

  /**
   * Puts the address on the device, unless it is there, and makes it known.
   *
   * @throws Error with the ip command and its answer
   */
  async announce(): Promise<void> {
    const device = this.#device;
    await this.#tell([
      `address replace ${this.#address}/32 dev ${device} label ${addressLabel(device)}`,
      `link set dev ${device} address ${hardwareAddress(device)}`,
    ]);
  }

  /**
   * Takes the address off the device, if it is there.
   *
   * @throws Error with the ip command and its answer
   */
  withdraw(): Promise<void> {
    return this.#tell([`address delete ${this.#address}/32 dev ${this.#device}`]);
  }

  /** Takes the address off the device, and ends. Should ip be slow, the shell does that when nobody waits any more. */
  async close(): Promise<void> {
    const child = this.#child;
    child.stdin.end(`address delete ${this.#address}/32 dev ${this.#device}\n`);
    const patience = new AbortController();
    const { signal } = patience;
    await Promise.race([this.#ended, sleep(DEADLINES_MS.processStop, undefined, { signal }).catch(() => {})]);
    patience.abort();
    child.stdout.destroy();
    child.stderr.destroy();
    child.unref();
  }

  async #tell(commands: readonly string[]): Promise<void> {
    this.#lines.push(...commands, MARK.command);
    const answered = new Promise<Error | undefined>((resolve) => this.#waiting.push(resolve));
    const ended = this.#ended.then(() => refusal(commands[0], 'the ip command has ended'));
    const patience = new AbortController();
    const { signal } = patience;
    // The shell is left alone: it is what takes the address away in the end.
    const late = sleep(DEADLINES_MS.query, `no answer after ${DEADLINES_MS.query} ms`, { signal }).then(
      (answer) => refusal(commands[0], answer),
      () => undefined,
    );
    this.#child.stdin.write(`${[...commands, MARK.command].join('\n')}\n`);
    const problem = await Promise.race([answered, ended, late]);
    patience.abort();
    if (problem !== undefined) throw problem;
  }

  #heard(line: string): void {
    const failed = FAILED.exec(line)?.[1];
    if (failed === undefined && !MARK.answer.test(line)) {
      this.#words.push(line.trim());
      return;
    }
    const answer = this.#words.join(' ');
    this.#words = [];
    if (failed === undefined) {
      this.#waiting.shift()?.(this.#problem);
      this.#problem = undefined;
    } else if (!NOT_THERE.test(answer)) {
      this.#problem ??= refusal(this.#lines[Number(failed) - 1], answer);
    }
  }
}

function refusal(command: string | undefined, answer: string): Error {
  return new Error(`ip ${command}: ${answer}`);
}

/**
 * Takes away what guests' addresses a host that is gone, and its shells with it, left on this host's device. Where a
 * shell lives the address is in use, or will be taken away by it.
 */
export async function removeStaleAddresses(device: string): Promise<void> {
  for (const { address } of networkInterfaces()[addressLabel(device)] ?? []) {
    if (hasShell(address, device)) continue;
    await run(['ip', 'address', 'delete', `${address}/32`, 'dev', device]);
  }
}

/** Whether a shell in this network namespace keeps the address. */
function hasShell(address: string, device: string): boolean {
  const words = ['', SHELL_NAME, `${address}/32`, device, ''].join('\0');
  const namespace = readlinkSync('/proc/self/ns/net');
  return readdirSync('/proc').some((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').endsWith(words)) return false;
      return readlinkSync(`/proc/${pid}/ns/net`) === namespace;
    } catch {
      // It has ended meanwhile, or is another user's.
      return false;
    }
  });
}

/** @throws Error when the host would lose an address that nobody put there for a guest */
function refuseOwnAddress(address: string): void {
  const found = Object.entries(networkInterfaces()).find(
    ([label, there]) => !label.endsWith(LABEL_END) && there?.some((each) => each.address === address),
  );
  if (found === undefined) return;
  throw new Error(
    `the address ${address} is this host's own, on ${found[0]}; give the guest one that nobody has`,
  );
}

/** The kernel gives an address's label as the name of its device to whoever asks for the device's addresses. */
function addressLabel(device: string): string {
  return `${device}${LABEL_END}`;
}

/** @throws Error when the device or a setting of the kernel would not let a guest's address be used */
export function requireAddressSettings(device: string): void {
  hardwareAddress(device);
  const missing = [
    ['ip_nonlocal_bind', isOn('ip_nonlocal_bind')],
    ['conf.all.arp_notify', isOn('conf/all/arp_notify') || isOn(`conf/${device}/arp_notify`)],
  ].flatMap(([name, isThere]) => (isThere ? [] : [`net.ipv4.${name}`]));
  if (missing.length === 0) return;
  throw new Error(`a setting of this host's kernel has to be 1: ${missing.join(', ')} (sysctl, as root)`);
}

function isOn(setting: string): boolean {
  try {
    return readFileSync(`/proc/sys/net/ipv4/${setting}`, 'utf8').trim() !== '0';
  } catch {
    // Another system than Linux, or no such device.
    return false;
  }
}

/** @throws Error when ARP cannot tell of the device */
function hardwareAddress(device: string): string {
  const mac = networkInterfaces()[device]?.[0]?.mac;
  if (mac !== undefined && mac !== '00:00:00:00:00:00') return mac;
  throw new Error(
    `the device ${device} is not up, has no address or is none of Ethernet; name another with --device`,
  );
}
