/** The section of a spec about clients: what it leaves out, and what is refused. */
import { expect, test } from 'vitest';
import { RateUnit } from '../../../proto/generated/godwit/v1/guest.ts';
import { DEFAULT_ANNOUNCE } from '../../../proto/guest-network.ts';
import { parseSpec } from '../../../spec/parse-spec.ts';
import { toPlain } from '../../../spec/plain.ts';
import type { SpecError } from '../../../spec/problems.ts';
import type { ResolvedSpec } from '../../../spec/resolve.ts';

interface Parts {
  readonly workload?: object;
  readonly fabric?: object;
  readonly memory?: string;
}

function specWith(clients: unknown, { workload = { kind: 'kv' }, fabric = {}, memory = '4MiB' }: Parts = {}) {
  const spec = { guest: { memory, workload }, migration: { technique: 'pre-copy' }, fabric, clients };
  return parseSpec(JSON.stringify(spec), 's.yaml');
}

function problemsWith(clients: unknown, parts?: Parts): string[] {
  try {
    specWith(clients, parts);
    return [];
  } catch (error) {
    return (error as SpecError).problems.map(({ path, message }) => `${path}: ${message}`);
  }
}

test('clients have a default for everything, and are the only work of a guest without a rate', () => {
  const { clients, guest } = specWith({});
  expect(clients).toEqual({
    ...{ protocols: ['udp'], ratePerS: 1000, arrivals: 'constant', read: 0.9, keys: 1000 },
    ...{ via: 'forwarder', addresses: undefined, timeoutMs: 1000, announce: DEFAULT_ANNOUNCE },
  });
  expect(guest.workload).toMatchObject({ rate: 0, rateUnit: RateUnit.RATE_UNIT_REQUESTS_ONLY });
  const paced = specWith({}, { workload: { kind: 'web', rate: '50 ops/s' } });
  expect(paced.guest.workload).toMatchObject({ rate: 50, rateUnit: RateUnit.RATE_UNIT_OPERATIONS_PER_S });
  expect(specWith({}, { fabric: { kind: 'netns' } }).clients?.via).toBe('address');
  expect(specWith(undefined).clients).toBeUndefined();
});

test('what is stored gives the same clients again', () => {
  const written = {
    ...{ protocol: ['tcp', 'udp'], rate: '12.5 requests/s', arrivals: 'poisson', read: 0, keys: 7 },
    ...{ via: 'address', addresses: '192.0.2.0/26', timeout: '90s' },
    announce: { delay: '5ms', initial: 0, max: '1s', step: '3ms', rounds: 2 },
  };
  const resolved: ResolvedSpec = specWith(written);
  expect(resolved.clients?.announce).toEqual({ delayMs: 5, initialMs: 0, maxMs: 1000, stepMs: 3, rounds: 2 });
  expect(parseSpec(JSON.stringify(toPlain(resolved)), 'again.yaml')).toEqual(resolved);
});

test.each([
  [{ protocol: 'sctp' }, {}, /^clients.protocol: found "sctp"; allowed is one of udp, tcp/],
  [{ protocol: ['udp', 'udp'] }, {}, /^clients.protocol\[1\]: found "udp" a second time/],
  [{ rate: '1000 ops/s' }, {}, /^clients.rate: .*allowed is a rate in requests\/s such as 1000 requests\/s/],
  [{ rate: '1e9 requests/s' }, {}, /from 0.1 requests\/s to 50000 requests\/s/],
  [{ keys: 0 }, {}, /^clients.keys: found 0; allowed is a whole number from 1/],
  [{ announce: { rounds: 0 } }, {}, /^clients.announce.rounds: /],
  [{ announce: { after: '1s' } }, {}, /^clients.announce.after: found an unknown key; allowed are delay/],
  [{ addresses: 'here' }, {}, /^clients.addresses: found "here"; allowed is a range of IPv4 addresses/],
  [{ via: 'forwarder', addresses: '10.0.0.0/24' }, {}, /^clients.addresses: a forwarder has an address/],
  [{}, { workload: { kind: 'uniform' } }, /^clients: .*whose workload is uniform, which answers nobody/],
  [{}, { memory: '1MiB' }, /^guest: .*at least 2 MiB, since its queues take \d+ pages/],
])('%j with %j is refused', (clients, parts, message) => {
  const problems = problemsWith(clients, parts);
  expect(problems).toEqual([expect.stringMatching(message)]);
});
