/**
 * How close shaped links come to what was asked of them: the relay's rates and delays between two NICs, and
 * tc's rate between two network namespaces (as root only). Each value is one probe, sender and receiver in
 * processes of their own.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { kernelFeatures } from '../hosts/network/kernel-features.ts';
import { Nic } from '../hosts/network/nic.ts';
import { run } from '../hosts/network/run-command.ts';
import { TcShaper, tcDevice } from '../hosts/network/tc.ts';
import type { LinkShape, ProbeRequest } from '../proto/generated/godwit/v1/network.ts';
import { UNSHAPED_LINK } from '../proto/network-shape.ts';
import { type About, type Row, row, rowAtMost } from './row.ts';

const PROBE = fileURLToPath(new URL('./probe-process.ts', import.meta.url));
const ROUNDS = 5;
const TOKEN = 'bench';
const BYTES_PER_S_PER_MBIT = 125_000;
const RATES_MBIT = [100, 500, 1000, 2000];
const RATE_DELAYS_MS = [0, 40];
const DELAYS_MS = [0, 10, 40, 100];
const WARM_UP_MS = 700;
const MEASURE_MS = 1000;
const ROUND_TRIPS = 21;
const TC_WORK = 'tc between namespaces, 1000 Mbit/s';
const RATE_TARGET_PERCENT = 3;
const DELAY_TARGET_MS = 1;

interface Measured {
  readonly rateBytesPerS: number;
  readonly roundTripMs: number;
}

/** A probe's server as a process; its stdin's end ends it. */
async function serve(
  address: string,
  prefix: readonly string[] = [],
): Promise<{ child: ChildProcess; port: number }> {
  const [file, ...args] = [...prefix, process.execPath, PROBE, 'serve', address, TOKEN];
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const [text] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, port: Number(String(text)) };
}

async function probe(
  address: string,
  port: number,
  wanted: Pick<ProbeRequest, 'roundTripCount' | 'warmUpMs' | 'measureMs'>,
  prefix: readonly string[] = [],
): Promise<Measured> {
  const request: ProbeRequest = { address, port, token: TOKEN, ...wanted };
  const [file, ...args] = [...prefix, process.execPath, PROBE, 'run', JSON.stringify(request)];
  const { stdout } = await promisify(execFile)(file, args);
  return JSON.parse(stdout) as Measured;
}

const RATE_PROBE = { roundTripCount: 0, warmUpMs: WARM_UP_MS, measureMs: MEASURE_MS };
const DELAY_PROBE = { roundTripCount: ROUND_TRIPS, warmUpMs: 0, measureMs: 0 };

function rateRow(work: string, rateBytesPerS: number, results: readonly Measured[]): Row {
  const offByPercent = results.map((result) => Math.abs(result.rateBytesPerS / rateBytesPerS - 1) * 100);
  return rowAtMost(aboutRate(work), offByPercent, RATE_TARGET_PERCENT);
}

function aboutRate(work: string): About {
  return { work, measure: 'rate against asked', unit: '%' };
}

async function rounds<Answer>(once: () => Promise<Answer>): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let round = 0; round < ROUNDS; round++) answers.push(await once());
  return answers;
}

/**
 * The relay: one host's egress and the other's ingress have the rate, each way's delay is the first host's.
 */
async function relayRows(): Promise<Row[]> {
  const rows: Row[] = [];
  const source = await Nic.start();
  const destination = await Nic.start();
  const { child, port: served } = await serve('127.0.0.1');
  try {
    const port = await source.dial('127.0.0.1', await destination.expose(served, '127.0.0.1', ''), '');
    const shape = async (rateBytesPerS: number, delayMs: number) => {
      const limited: LinkShape = { ...UNSHAPED_LINK, rateBytesPerS };
      const both = { ...limited, delayMs };
      await source.setShape({ egress: both, ingress: both, peers: [] });
      await destination.setShape({ egress: limited, ingress: limited, peers: [] });
    };
    for (const delayMs of RATE_DELAYS_MS) {
      for (const mbit of RATES_MBIT) {
        await shape(mbit * BYTES_PER_S_PER_MBIT, delayMs);
        const results = await rounds(() => probe('127.0.0.1', port, RATE_PROBE));
        rows.push(rateRow(`relay, ${mbit} Mbit/s, ${delayMs} ms`, mbit * BYTES_PER_S_PER_MBIT, results));
      }
    }
    for (const delayMs of DELAYS_MS) {
      await shape(0, delayMs);
      const results = await rounds(() => probe('127.0.0.1', port, DELAY_PROBE));
      const offMs = results.map(({ roundTripMs }) => Math.abs(roundTripMs - 2 * delayMs));
      const about = {
        work: `relay, ${delayMs} ms each way`,
        measure: 'round trip against asked',
        unit: 'ms',
      };
      rows.push(rowAtMost(about, offMs, DELAY_TARGET_MS));
    }
  } finally {
    child.stdin?.end();
    await source.close();
    await destination.close();
  }
  return rows;
}

async function tcRows(): Promise<Row[]> {
  const rateBytesPerS = 1000 * BYTES_PER_S_PER_MBIT;
  const [source, destination] = [`gwbench-s${process.pid}`, `gwbench-d${process.pid}`] as const;
  const addresses = { source: '10.255.77.1', destination: '10.255.77.2' };
  let child: ChildProcess | undefined;
  try {
    await run(['ip', 'netns', 'add', source]);
    await run(['ip', 'netns', 'add', destination]);
    const pair = ['type', 'veth', 'peer', 'name', 'nic', 'netns', destination];
    await run(['ip', 'link', 'add', 'nic', 'netns', source, ...pair]);
    for (const [namespace, address] of [
      [source, addresses.source],
      [destination, addresses.destination],
    ] as const) {
      await run(['ip', '-n', namespace, 'address', 'add', `${address}/24`, 'dev', 'nic']);
      await run(['ip', '-n', namespace, 'link', 'set', 'nic', 'up']);
    }
    const shaper = new TcShaper(await tcDevice('nic', source));
    await shaper.setShape(
      { egress: { ...UNSHAPED_LINK, rateBytesPerS }, ingress: UNSHAPED_LINK, peers: [] },
      new Map(),
    );
    const server = await serve(addresses.destination, ['ip', 'netns', 'exec', destination]);
    child = server.child;
    const results = await rounds(() =>
      probe(addresses.destination, server.port, RATE_PROBE, ['ip', 'netns', 'exec', source]),
    );
    return [rateRow(TC_WORK, rateBytesPerS, results)];
  } finally {
    child?.stdin?.end();
    for (const namespace of [source, destination])
      await run(['ip', 'netns', 'del', namespace]).catch(() => {});
  }
}

export async function shaped(): Promise<Row[]> {
  const { permitted, htb, missing } = await kernelFeatures();
  if (permitted && htb) return [...(await relayRows()), ...(await tcRows())];
  const none = { name: 'godwit', problem: missing.permitted ?? missing.htb ?? '', failed: false };
  return [...(await relayRows()), row(aboutRate(TC_WORK), none)];
}
