/**
 * A guest's NIC in numbers that all sides share: how much of guest memory its queues take, how often a guest that came
 * to a host is announced, and what is wrong with a GuestNetwork.
 */

import { isIPv4 } from 'node:net';
import type { Announce, GuestNetwork, GuestSpec } from './generated/godwit/v1/guest.ts';
import { ANSWERING_WORKLOADS } from './names.ts';
import { PAGE_BYTES } from './page.ts';

/** Slots of each of the two queues; virtio-net's default. A power of two, since indices run freely and wrap. */
export const QUEUE_SLOTS = 256;
/** A slot's head, and a message of MESSAGE_BYTES_MAX bytes (guest-request.ts). */
export const QUEUE_SLOT_BYTES = 2048;
/** Of a message: to whom its answer goes, as only the NIC's uplink understands it. */
export const FLOW_BYTES = 16;
/** The slots of one queue. */
export const QUEUE_PAGES = (QUEUE_SLOTS * QUEUE_SLOT_BYTES) / PAGE_BYTES;
/** The last pages of a guest that has a NIC: two queues, and a page of indices for each of the two that write them. */
export const NETWORK_PAGES = 2 * QUEUE_PAGES + 2;

export const NETWORK_LIMITS = {
  memoryBytesMin: 2 * 1024 * 1024,
  portMax: 65_535,
  forwarderCharactersMax: 260,
  /** At most 255 bytes on the forwarder's wire. */
  tokenCharactersMax: 63,
  /** As QEMU's announce-initial and announce-max. */
  announceMsMax: 100_000,
  announceStepMsMin: 1,
  announceStepMsMax: 10_000,
  announceRoundsMax: 1000,
} as const;

/** Where a guest with an address of its own answers, unless another port is named. */
export const DEFAULT_GUEST_PORT = 7000;

/** QEMU's defaults. */
export const DEFAULT_ANNOUNCE: Announce = { delayMs: 0, initialMs: 50, maxMs: 550, stepMs: 100, rounds: 5 };

type Layout = Pick<GuestSpec, 'memoryBytes' | 'network' | 'content'>;

/** The first page of the queues of a guest's NIC, which are its last; the number of its pages when it has none. */
export function firstQueuePage({ memoryBytes, network }: Layout): number {
  return Number(memoryBytes / BigInt(PAGE_BYTES)) - (network === undefined ? 0 : NETWORK_PAGES);
}

/** The pages of a guest's kernel (hosts/guest/free-list.ts): free at boot. They lie before the NIC's. */
export function poolPageCount({ memoryBytes, content }: Layout): number {
  return Math.floor((content?.free ?? 0) * Number(memoryBytes / BigInt(PAGE_BYTES)));
}

/** The pages that a guest's workload has, which are its first: all but its kernel's and the NIC's. */
export function workloadPageCount(spec: Layout): number {
  return firstQueuePage(spec) - poolPageCount(spec);
}

/**
 * How long before the `round`-th announcement (from 1), ms: after the guest's start for the first, after the one
 * before for the others. QEMU's self_announce_delay.
 */
export function announceDelayMs({ delayMs, initialMs, maxMs, stepMs }: Announce, round: number): number {
  if (round === 1) return delayMs;
  return Math.min(initialMs + (round - 2) * stepMs, maxMs);
}

/** Everything that is wrong with a guest's network, as sentences; empty when there is none or it can be had. */
export function guestNetworkProblems({ network, memoryBytes, workload }: GuestSpec): string[] {
  if (network === undefined) return [];
  const problems = [...wayProblems(network), ...announceProblems(network.announce)];
  if (memoryBytes < NETWORK_LIMITS.memoryBytesMin) {
    problems.push(
      `memory is ${memoryBytes} bytes; a guest with a network has at least 2 MiB, ` +
        `since its queues take ${NETWORK_PAGES} pages`,
    );
  }
  const kind = workload?.kind ?? 'none';
  if (!(ANSWERING_WORKLOADS as readonly string[]).includes(kind)) {
    problems.push(
      `workload kind is "${kind}", which answers nobody; ` +
        `a guest with a network runs ${ANSWERING_WORKLOADS.join(' or ')}`,
    );
  }
  return problems;
}

function wayProblems({ address, port, forwarder, token }: GuestNetwork): string[] {
  if ((address === '') === (forwarder === '')) {
    const found = address === '' ? 'neither' : 'both';
    return [`network has ${found} of address and forwarder; allowed is one of them`];
  }
  const problems: string[] = [];
  const { portMax, forwarderCharactersMax, tokenCharactersMax } = NETWORK_LIMITS;
  if (address !== '') {
    if (!isIPv4(address)) problems.push(`network address is "${address}"; allowed is an IPv4 address`);
    if (!(port >= 1 && port <= portMax))
      problems.push(`network port is ${port}; allowed is 1 to ${portMax} with an address`);
  } else {
    if (forwarder.length > forwarderCharactersMax || endpointOf(forwarder) === undefined)
      problems.push(`network forwarder is "${forwarder}"; allowed is ADDRESS:PORT`);
    if (port !== 0)
      problems.push(`network port is ${port}; allowed is 0 with a forwarder, which has its own`);
  }
  if (token.length > tokenCharactersMax)
    problems.push(`network token has ${token.length} characters; allowed are at most ${tokenCharactersMax}`);
  return problems;
}

/** The parts of "address:port"; undefined when it is none. */
export function endpointOf(text: string): { readonly address: string; readonly port: number } | undefined {
  const found = /^([^\s:]+):(\d{1,5})$/.exec(text);
  const port = Number(found?.[2]);
  if (found === null || port < 1 || port > NETWORK_LIMITS.portMax) return undefined;
  return { address: found[1] as string, port };
}

function announceProblems(announce: Announce | undefined): string[] {
  if (announce === undefined) return ['network announce is missing; send one, such as QEMU has'];
  const { announceMsMax, announceStepMsMin, announceStepMsMax, announceRoundsMax } = NETWORK_LIMITS;
  const ranges = [
    ['delay', announce.delayMs, 0, announceMsMax],
    ['initial', announce.initialMs, 0, announceMsMax],
    ['max', announce.maxMs, 0, announceMsMax],
    ['step', announce.stepMs, announceStepMsMin, announceStepMsMax],
    ['rounds', announce.rounds, 1, announceRoundsMax],
  ] as const;
  return ranges.flatMap(([name, value, minimum, maximum]) => {
    if (value >= minimum && value <= maximum) return [];
    const unit = name === 'rounds' ? '' : ' ms';
    return [`network announce ${name} is ${value}${unit}; allowed is ${minimum} to ${maximum}${unit}`];
  });
}
