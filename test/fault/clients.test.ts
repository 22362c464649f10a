/**
 * Goal: clients lose nothing when the source of a migration dies after its commit point: the forwarder turns to
 * the destination, and what the source had not taken into the guest is asked there. Method: real hosts, a
 * forwarder and load generators; the source is held behind its COMMIT and killed.
 */

import { afterEach, expect, test } from 'vitest';
import { Forwarder } from '../../clients/forwarder.ts';
import { LoadGenerator } from '../../clients/load-generator.ts';
import { CLIENT_PROTOCOLS } from '../../proto/client-load.ts';
import { RateUnit } from '../../proto/generated/godwit/v1/guest.ts';
import { DEFAULT_ANNOUNCE } from '../../proto/guest-network.ts';
import { expectRunsOnlyOn, HOSTS, heldAt } from '../support/one-copy.ts';
import { endAllProcesses, waitFor } from '../support/processes.ts';
import { guestSpec, LONG_LEASE_MS, Testbed } from '../support/testbed.ts';

const GUEST = 'asked';
const TOKEN = 'said by hosts';
const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await endAllProcesses();
});

test('killed behind its COMMIT, the source takes no request and no acknowledged write with it', async () => {
  const turns: bigint[] = [];
  const forwarder = await Forwarder.start({
    ...{ address: '127.0.0.1', port: 0, guests: [GUEST], token: TOKEN },
    turned: (_guest, _host, epoch) => turns.push(epoch),
  });
  closers.push(() => forwarder.close());
  const testbed = await Testbed.start(HOSTS, LONG_LEASE_MS);
  closers.push(() => testbed.close());
  const spec = guestSpec(GUEST);
  await testbed.createGuest(
    {
      ...spec,
      workload: {
        ...{ ...spec.workload!, kind: 'kv', scanLength: 1 },
        ...{ rate: 0, rateUnit: RateUnit.RATE_UNIT_REQUESTS_ONLY },
      },
      network: {
        ...{ address: '', port: 0, forwarder: forwarder.address, token: TOKEN },
        announce: DEFAULT_ANNOUNCE,
      },
    },
    'host-1',
  );
  const address = forwarder.guestAddresses[GUEST]!;
  const loads = await Promise.all(
    CLIENT_PROTOCOLS.map((protocol, seed) =>
      LoadGenerator.start(
        {
          ...{ protocol, address, ratePerS: 100, arrivals: 'poisson', read: 0.5, keys: 20, seed },
          timeoutMs: 200_000,
        },
        (error) => {
          throw error;
        },
      ),
    ),
  );
  for (const load of loads) closers.push(() => load.close());
  const answeredBy = async (count: number) =>
    await waitFor(() => forwarder.counts(GUEST)!.answered >= count, `${count} answers`);
  await answeredBy(50);
  await heldAt(testbed, GUEST, 'after-commit', { maxBandwidthBytesPerS: 20_000_000 });
  await testbed.killHost('host-1');
  await waitFor(() => turns.length === 2, 'the announcement of host-2');
  expect(turns[1]).toBe(turns[0]! + 1n);
  await answeredBy(forwarder.counts(GUEST)!.answered + 50);
  await expectRunsOnlyOn(testbed, GUEST, 'host-2');
  for (const load of loads) {
    const report = await load.finish(undefined);
    expect(report).toMatchObject({ lost: 0, wrong: 0, reconnects: 0, answered: report.sent });
  }
  expect(forwarder.counts(GUEST)).toMatchObject({ dropped: 0, expired: 0 });
});
