/**
 * Shapes a device with tc. What the kernel refuses is an error with the command and the kernel's own words;
 * then nothing of the shape is left on the device.
 */

import { errorText } from '../../proto/errors.ts';
import type { NetworkShape } from '../../proto/generated/godwit/v1/network.ts';
import { networkShapeProblems } from '../../proto/network-shape.ts';
import { run } from './run-command.ts';
import { type Command, type TcDevice, tcCommands, tcRemoveCommands } from './tc-commands.ts';

/** What the kernel and ip answer when there is nothing to take away. */
const NOTHING_THERE =
  /handle of zero|Invalid handle|Cannot find (device|specified qdisc)|No such (file|device)|does not exist/i;

export class TcShaper {
  readonly #device: TcDevice;
  #layout: string | undefined;

  constructor(device: TcDevice) {
    this.#device = device;
  }

  /**
   * Gives the device a shape, in place of the one before; while only numbers change, no packet is lost by it.
   *
   * @param addresses the IPv4 address of each peer that has a shape of its own
   * @throws Error with the tc command and the kernel's answer; the device is then unshaped
   */
  async setShape(shape: NetworkShape, addresses: ReadonlyMap<string, string>): Promise<void> {
    const problems = networkShapeProblems(shape);
    if (problems.length > 0) throw new Error(`the shape is refused: ${problems.join('; ')}`);
    const { setUp, change, layout } = tcCommands(this.#device, shape, addresses);
    try {
      if (layout !== this.#layout) {
        await this.remove();
        for (const command of setUp) await run(command);
        this.#layout = layout;
      }
      for (const command of change) await run(command);
    } catch (error) {
      // What was refused is the news, not that the rest could not be taken away either.
      await this.remove().catch(() => {});
      throw error;
    }
  }

  /**
   * Takes everything away that a shaper put on the device, another process's too; may be called at any time.
   */
  async remove(): Promise<void> {
    this.#layout = undefined;
    for (const command of tcRemoveCommands(this.#device)) await runRemoval(command);
  }
}

/** Reads what `tcCommands` must know of a device. @throws Error when there is no such device */
export async function tcDevice(name: string, namespace?: string): Promise<TcDevice> {
  const within = namespace === undefined ? {} : { namespace };
  const words = namespace === undefined ? [] : ['-n', namespace];
  const text = await run(['ip', '-j', ...words, 'link', 'show', 'dev', name]);
  const [link] = JSON.parse(text) as { mtu: number }[];
  if (link === undefined) throw new Error(`there is no device ${name} in ${namespace ?? 'this namespace'}`);
  return { name, mtu: link.mtu, ...within };
}

/** Runs a command that takes something away; that it is not there is no error. @throws Error as run() */
export async function runRemoval(command: Command): Promise<void> {
  try {
    await run(command);
  } catch (error) {
    if (!NOTHING_THERE.test(errorText(error))) throw error;
  }
}
