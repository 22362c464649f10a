/**
 * The section of a spec about clients outside: what they ask, how often, and how they find a guest that has
 * moved.
 */

import { z } from 'zod';
import {
  CLIENT_ARRIVALS,
  CLIENT_LIMITS,
  CLIENT_PROTOCOLS,
  CLIENT_WAYS,
  type ClientArrivals,
  type ClientProtocol,
  type ClientWay,
  DEFAULT_CLIENT_LOAD,
} from '../proto/client-load.ts';
import type { Announce } from '../proto/generated/godwit/v1/guest.ts';
import { DEFAULT_ANNOUNCE, NETWORK_LIMITS } from '../proto/guest-network.ts';
import { parseIpv4Range } from '../proto/ipv4-range.ts';
import { ANSWERING_WORKLOADS, type WorkloadKind } from '../proto/names.ts';
import { choice, integer, quantity, section, share } from './fields.ts';
import { duration, requestRate } from './units.ts';

const { announceMsMax, announceStepMsMin, announceStepMsMax, announceRoundsMax } = NETWORK_LIMITS;

const ADDRESSES = 'a range of IPv4 addresses such as 10.0.2.0/24';

const protocol = choice(CLIENT_PROTOCOLS);
const announceTime = (ms: number) => quantity(duration, 0, announceMsMax).prefault(duration.format(ms));

const announce = section({
  delay: announceTime(DEFAULT_ANNOUNCE.delayMs).describe(
    'From its first instruction there to the first one.',
  ),
  initial: announceTime(DEFAULT_ANNOUNCE.initialMs).describe('From the first one to the second.'),
  max: announceTime(DEFAULT_ANNOUNCE.maxMs).describe('The most that lies between two of them.'),
  step: quantity(duration, announceStepMsMin, announceStepMsMax)
    .prefault(duration.format(DEFAULT_ANNOUNCE.stepMs))
    .describe('How much later each one comes after the one before.'),
  rounds: integer(1, announceRoundsMax).default(DEFAULT_ANNOUNCE.rounds).describe('How many there are.'),
});

export const clientsSection = section({
  protocol: z
    .union([protocol, z.array(protocol).min(1, { error: 'at least one protocol' })], {
      error: `one of ${CLIENT_PROTOCOLS.join(', ')}, or a list of them`,
    })
    .default('udp')
    .describe('How they ask; a list has a load generator for each, all at once.'),
  rate: quantity(requestRate, CLIENT_LIMITS.ratePerSMin, CLIENT_LIMITS.ratePerSMax)
    .prefault(requestRate.format(DEFAULT_CLIENT_LOAD.ratePerS))
    .describe('How often each load generator asks each guest, whatever becomes of what it asked before.'),
  arrivals: choice(CLIENT_ARRIVALS)
    .default(DEFAULT_CLIENT_LOAD.arrivals)
    .describe('Whether requests are due at equal intervals or at random.'),
  read: share().default(DEFAULT_CLIENT_LOAD.read).describe('The share of requests that only read.'),
  keys: integer(1, CLIENT_LIMITS.keysMax)
    .default(DEFAULT_CLIENT_LOAD.keys)
    .describe('How many keys they ask for, all equally often.'),
  via: choice(CLIENT_WAYS)
    .optional()
    .describe("How they reach the guest. Default: forwarder; in network namespaces the guest's own address."),
  addresses: z
    .string({ error: ADDRESSES })
    .refine((found) => parseIpv4Range(found) !== undefined, { error: ADDRESSES })
    .optional()
    .describe('via address: from where guests have addresses. Default: see docs/clients.md.'),
  timeout: quantity(duration, CLIENT_LIMITS.timeoutMsMin, CLIENT_LIMITS.timeoutMsMax)
    .prefault(duration.format(DEFAULT_CLIENT_LOAD.timeoutMs))
    .describe('A request without an answer for so long is lost.'),
  announce: announce.prefault({}).describe('How a guest that has moved is made known, as in QEMU.'),
});

export type ClientsSection = z.output<typeof clientsSection>;

/** The clients of each guest, complete. */
export interface ResolvedClients {
  readonly protocols: readonly ClientProtocol[];
  /** Of each protocol, for each guest. */
  readonly ratePerS: number;
  readonly arrivals: ClientArrivals;
  readonly read: number;
  readonly keys: number;
  readonly via: ClientWay;
  /** via address: a range; undefined: the testbed knows one. */
  readonly addresses: string | undefined;
  readonly timeoutMs: number;
  readonly announce: Readonly<Announce>;
}

/** @param fabricKind a name from FABRICS */
export function resolveClients(found: ClientsSection, fabricKind: string): ResolvedClients {
  const { protocol: protocols, rate: ratePerS, arrivals, read, keys, timeout, announce: times } = found;
  return {
    protocols: Array.isArray(protocols) ? protocols : [protocols],
    ...{ ratePerS, arrivals, read, keys },
    via: found.via ?? (fabricKind === 'netns' ? 'address' : 'forwarder'),
    addresses: found.addresses,
    timeoutMs: timeout,
    announce: {
      delayMs: times.delay,
      initialMs: times.initial,
      maxMs: times.max,
      stepMs: times.step,
      rounds: times.rounds,
    },
  };
}

/** Whether guests that run this have somebody who answers clients. */
export function answersRequests(kind: WorkloadKind): boolean {
  return (ANSWERING_WORKLOADS as readonly WorkloadKind[]).includes(kind);
}
