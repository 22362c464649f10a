/**
 * How much of a shaped link a migration uses: `godwit run` between two network namespaces against iperf3
 * between two others that are made and shaped by the same code.
 */

import { TestbedClient } from '../experiment/testbed-client.ts';
import { type Fabric, FabricUnavailableError } from '../fabric/fabric.ts';
import { startNetnsFabric } from '../fabric/netns-fabric.ts';
import { UNSHAPED_LINK } from '../proto/network-shape.ts';
import { iperf3 } from './peers/iperf3.ts';
import { inRounds, measured } from './rounds.ts';
import { type Row, row } from './row.ts';
import { movesOf } from './run-spec.ts';

const ROUNDS = 5;
const MEMORY_MIB = 1024;
const BYTES_PER_S_PER_GBIT = 125_000_000;
const BYTES_PER_MIB = 1024 ** 2;
const MEMORY_BYTES_PER_HOST = 64 * BYTES_PER_MIB;
const LEASE_MS = 10_000;
/** iperf3 sends in the clear. */
const AS_PEERS = '[zero, encryption: none]';
const LINKS = [
  { gbit: 1, target: { at_least: 0.98 } },
  { gbit: 10, target: { at_least: 0.85 } },
];

/** Two hosts in namespaces, without guests: a path for iperf3. */
class ShapedPath {
  readonly #fabric: Fabric;
  readonly #client: TestbedClient;

  private constructor(fabric: Fabric) {
    this.#fabric = fabric;
    this.#client = new TestbedClient(fabric.coordinatorAddress);
  }

  /** @throws FabricUnavailableError when this process may not make namespaces */
  static async start(): Promise<ShapedPath> {
    return new ShapedPath(
      await startNetnsFabric({
        hostCount: 2,
        memoryBytesPerHost: MEMORY_BYTES_PER_HOST,
        stateFile: ':memory:',
        leaseMs: LEASE_MS,
      }),
    );
  }

  /** Gives both hosts' NICs the rate, in both directions: what `link` of a spec does. */
  async shape(rateBytesPerS: number): Promise<void> {
    const link = { ...UNSHAPED_LINK, rateBytesPerS };
    for (const { name } of this.#fabric.hosts()) {
      await this.#client.setNetwork(name, { egress: link, ingress: link, peers: [] }, false);
    }
  }

  /** What iperf3 gets through with one stream, bytes per second. */
  async iperf3(): Promise<number> {
    const [sender, receiver] = this.#fabric.hosts();
    const within = (pid: number): string[] => ['nsenter', '--target', String(pid), '--net'];
    const entry = (await this.#client.hosts()).find(({ host }) => host === receiver!.name);
    return await iperf3({
      streams: 1,
      address: entry!.address.replace(/:\d+$/, ''),
      senderPrefix: within(sender!.pid),
      receiverPrefix: within(receiver!.pid),
    });
  }

  async close(): Promise<void> {
    this.#client.close();
    await this.#fabric.close();
  }
}

export async function shapedMoves(roundCount = ROUNDS, memoryMib = MEMORY_MIB): Promise<Row[]> {
  let path: ShapedPath;
  try {
    path = await ShapedPath.start();
  } catch (error) {
    if (!(error instanceof FabricUnavailableError)) throw error;
    const none = { name: 'godwit', problem: error.message, failed: false };
    return LINKS.map(({ gbit, target }) => row(about(gbit, memoryMib), none, { target }));
  }
  try {
    const rows: Row[] = [];
    for (const link of LINKS) rows.push(await linkRow(path, link, roundCount, memoryMib));
    return rows;
  } finally {
    await path.close();
  }
}

function about(gbit: number, memoryMib: number) {
  const work = `idle, ${memoryMib} MiB, tc at ${gbit} Gbit/s between namespaces, 1 channel`;
  return { work, measure: 'bytes per second', unit: 'MiB/s' };
}

async function linkRow(
  path: ShapedPath,
  { gbit, target }: (typeof LINKS)[number],
  roundCount: number,
  memoryMib: number,
): Promise<Row> {
  await path.shape(gbit * BYTES_PER_S_PER_GBIT);
  const godwit = async (): Promise<number> => {
    const [move] = await movesOf(`
name: shaped
fabric: {kind: netns}
guest: {memory: ${memoryMib}MiB, workload: {kind: idle}}
migration: {technique: pre-copy, transforms: ${AS_PEERS}}
link: {rate: ${gbit}gbit}
`);
    return move!.bytesPerS;
  };
  const found = await inRounds(roundCount, { godwit, 'iperf3, 1 stream': () => path.iperf3() });
  const mibPerS = (bytesPerS: number): number => bytesPerS / BYTES_PER_MIB;
  const peer = measured(found['iperf3, 1 stream'], mibPerS);
  return row(about(gbit, memoryMib), measured(found.godwit, mibPerS), { peer, target });
}
