/** A trial that cannot do what its spec says: it fails before there are guests, and says why. */

import { expect, test } from 'vitest';
import { runTrial } from '../../../experiment/run-trial.ts';
import { TestbedClient } from '../../../experiment/testbed-client.ts';
import { parseSpec } from '../../../spec/parse-spec.ts';

test('with clients that have nowhere to run a trial fails instead of running without them', async () => {
  const text = 'guest: {memory: 4MiB, workload: {kind: kv}}\nmigration: {technique: pre-copy}\nclients: {}';
  // Nobody listens there, and nobody is asked.
  const client = new TestbedClient('127.0.0.1:1');
  try {
    const spec = parseSpec(text, 's.yaml');
    const records = await runTrial({
      spec,
      label: { variant: spec.variants[0]!, trial: 1, trialCount: 1 },
      ...{ client, clientSide: undefined, signal: new AbortController().signal },
      observer: { step: () => {}, progress: () => {}, ended: () => {} },
    });
    expect(records.map(({ status }) => status)).toEqual(['failed']);
    expect(records[0]?.reason).toContain('nobody said where');
  } finally {
    client.close();
  }
});
