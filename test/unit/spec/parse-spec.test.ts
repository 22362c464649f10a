/** What a spec may say, and what is said of one that may not. */

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RateUnit } from '../../../proto/generated/godwit/v1/guest.ts';
import { defaultMigrationOptions } from '../../../proto/migration-options.ts';
import type { Technique } from '../../../proto/names.ts';
import { loadSpec, parseSpec } from '../../../spec/parse-spec.ts';
import { toPlain } from '../../../spec/plain.ts';
import { SpecError } from '../../../spec/problems.ts';
import { withOverrides } from '../../../spec/resolve.ts';

const SMALLEST = 'guest: {}\nmigration: {technique: pre-copy}\n';

/** What is said of a text, one line for each problem; empty when it is a spec. */
function problemsOf(text: string, machineMemoryBytes?: number): string[] {
  try {
    parseSpec(text, 's.yaml', machineMemoryBytes);
    return [];
  } catch (error) {
    if (error instanceof SpecError) return error.message.split('\n');
    throw error;
  }
}

const withGuest = (guest: string) => problemsOf(`guest: {${guest}}\nmigration: {technique: pre-copy}`);
const withMigration = (options: string) =>
  problemsOf(`guest: {}\nmigration: {technique: pre-copy, ${options}}`);

describe('a spec', () => {
  it('needs only a guest and a technique', () => {
    const spec = parseSpec(SMALLEST, 'folder/smallest.yaml');
    expect(spec).toMatchObject({ name: 'smallest', seed: 1, trials: 1, warmUpMs: 1000, settleMs: 500 });
    expect(spec.variants).toEqual([
      { technique: 'pre-copy', name: '', options: defaultMigrationOptions('pre-copy') },
    ]);
    expect(spec.guest.workload?.kind).toBe('idle');
    expect(problemsOf('trials: 1')).toEqual([
      expect.stringContaining('guest is missing; allowed is a mapping with the keys name, count, memory'),
      expect.stringContaining('migration is missing; allowed is a mapping with the keys technique'),
    ]);
  });

  it('gives the guest what the file says', () => {
    const { guest } = loadSpec('experiments/quickstart.yaml');
    expect(guest).toMatchObject({ memoryBytes: 268_435_456n, deviceStateBytes: 65_536n, seed: 1n });
    expect(guest.workload).toMatchObject({
      kind: 'hot-cold',
      rate: 5000,
      rateUnit: RateUnit.RATE_UNIT_PAGES_PER_S,
      workingSetBytes: 33_554_432n,
      hot: 0.9,
    });
  });

  it.each(readdirSync('experiments'))('ships as experiments/%s', (file) => {
    expect(loadSpec(join('experiments', file)).name).toBe(file.replace('.yaml', ''));
  });

  it('cannot be changed, except by making another', () => {
    const spec = parseSpec(SMALLEST, 's.yaml');
    expect(() => Object.assign(spec.variants[0]!.options, { channels: 2 })).toThrow(TypeError);
    expect(() => Object.assign(spec.guest.content ?? {}, { zero: 1 })).toThrow(TypeError);
    const other = withOverrides(spec, { seed: 7, trials: 3 });
    expect(other).toMatchObject({ seed: 7, trials: 3, guest: { seed: 7n } });
    expect(spec.seed).toBe(1);
  });
});

describe('a spec of post-copy and hybrid', () => {
  const optionsOf = (technique: Technique, keys: string) =>
    parseSpec(`guest: {}\nmigration: {technique: ${technique}, ${keys}}`, 's.yaml').variants[0]!.options;

  it('has the defaults of the contract', () => {
    for (const technique of ['post-copy', 'hybrid'] as const) {
      expect(optionsOf(technique, '')).toEqual(defaultMigrationOptions(technique));
    }
  });

  it('switches after one round unless it says when', () => {
    expect(optionsOf('hybrid', '').switchAfterRounds).toBe(1);
    expect(optionsOf('hybrid', 'switch-after: 2s').switchAfterRounds).toBe(0);
    expect(optionsOf('hybrid', 'switch-after-share: 0.5').switchAfterRounds).toBe(0);
    expect(optionsOf('hybrid', 'switch-after: 2s, switch-after-rounds: 3').switchAfterRounds).toBe(3);
  });

  it('may name keys that one of its techniques uses', () => {
    const text = 'guest: {}\nmigration: {technique: [pre-copy, post-copy], max-rounds: 5, push: none}';
    expect(parseSpec(text, 's.yaml').variants.map(({ technique }) => technique)).toEqual([
      'pre-copy',
      'post-copy',
    ]);
  });
});

describe('a spec that leaves the technique to be chosen', () => {
  it('has its goal, and every key that one of the techniques uses', () => {
    const text =
      'guest: {}\nmigration: {technique: [pre-copy, auto], hot-set: 0.1, goal: {max-downtime: 50ms}}';
    const { variants, predict } = parseSpec(text, 's.yaml');
    expect(predict).toBe(false);
    expect(variants.map(({ technique, options }) => [technique, options.goal?.maxDowntimeMs])).toEqual([
      ['pre-copy', undefined],
      ['auto', 50],
    ]);
    expect(variants[1]!.options.hotSet).toBe(0.1);
  });

  it('is written as it was read', () => {
    const goal = 'goal: {max-downtime: 50ms, max-total-time: 3s, may-lose-on-link-failure: true}';
    const spec = parseSpec(`guest: {}\nmigration: {technique: auto, predict: true, ${goal}}`, 's.yaml');
    expect(parseSpec(JSON.stringify(toPlain(spec)), 's.yaml')).toEqual(spec);
  });
});

describe('a spec that lists values', () => {
  const variantsOf = (migration: string) =>
    parseSpec(`guest: {}\nmigration: {${migration}}`, 's.yaml').variants;
  const namesOf = (migration: string) =>
    variantsOf(migration).map((each) => `${each.technique} ${each.name}`);

  it('has a variant for each combination, but none that differs in a key which it does not use', () => {
    const lists = 'push: [none, bubbling], pivots: [1, 3], postcopy-preempt: [true, false]';
    expect(namesOf(`technique: [pre-copy, post-copy], ${lists}`)).toEqual([
      'pre-copy ',
      'post-copy push=none postcopy-preempt=true',
      'post-copy push=none postcopy-preempt=false',
      'post-copy push=bubbling pivots=1 postcopy-preempt=true',
      'post-copy push=bubbling pivots=1 postcopy-preempt=false',
      'post-copy push=bubbling pivots=3 postcopy-preempt=true',
      'post-copy push=bubbling pivots=3 postcopy-preempt=false',
    ]);
    const { options } = variantsOf(`technique: post-copy, ${lists}`).at(-1)!;
    expect(options).toMatchObject({ pivots: 3, postcopyPreempt: false });
  });

  it('names values as people write them, and a list of one value not at all', () => {
    expect(
      namesOf(
        'technique: hybrid, max-bandwidth: [1gbit, unlimited], switch-after: [0s, 2s], pivots: [3], push: bubbling',
      ),
    ).toEqual([
      'hybrid max-bandwidth=1gbit switch-after=0s',
      'hybrid max-bandwidth=1gbit switch-after=2s',
      'hybrid max-bandwidth=unlimited switch-after=0s',
      'hybrid max-bandwidth=unlimited switch-after=2s',
    ]);
  });

  it('has one default for a key whose default depends on others', () => {
    const rounds = variantsOf('technique: hybrid, switch-after: [0s, 2s]').map((each) => each.options);
    expect(rounds.map(({ switchAfterRounds }) => switchAfterRounds)).toEqual([0, 0]);
  });

  it('may use a key in some variants only', () => {
    expect(namesOf('technique: post-copy, recovery: [manual, automatic], recovery-limit: 3s')).toHaveLength(
      2,
    );
  });

  it.each([
    [
      'push: [none, often]',
      's.yaml:2:48: migration.push[1]: found "often"; allowed is one of none, sequential',
    ],
    ['push: []', 'migration.push: found an empty list; allowed is at least one value'],
    ['push: [none, none]', 'migration.push[1]: found the same value a second time; allowed is once'],
    ['recovery-limit: [1s, 1000ms]', 'recovery-limit[1]: found the same value a second time'],
    ['channels: [[1]]', 'migration.channels[0]: found a list; allowed is a whole number from 1 to 16'],
    [
      'channels: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], recovery-limit: [1s, 2s, 3s, 4s, 5s, 6s, 7s, 8s, 9s, 10s]',
      'migration: found lists that make more than 100 variants',
    ],
  ])('is refused for {%s}', (keys, message) => {
    expect(problemsOf(`guest: {}\nmigration: {technique: post-copy, ${keys}}`)).toEqual([
      expect.stringContaining(message),
    ]);
  });
});

describe('a wrong spec', () => {
  it('is told everything at once, with places, what was found and what is allowed', () => {
    const text = `name: quick start
guest:
  memory: 256MiB
  vcpu: 1
  workload: {kind: uniform, hot: 0.5, working-set: 1GiB}
migration:
  technique: [stop-and-copy, precopy]
  downtime-limit: 300
  max-bandwidth: 0mbit
  failpoints:
    - {at: round-1, do: delay}
`;
    const name = 'a name: 1 to 63 of a-z, 0-9, "-" and ".", beginning and ending with a letter or digit';
    expect(problemsOf(text)).toEqual([
      `s.yaml:1:7: name: found "quick start"; allowed is ${name}`,
      's.yaml:4:3: guest.vcpu: found an unknown key; allowed are name, count, memory, vcpus, device-state, ' +
        'content, workload; did you mean "vcpus"?',
      's.yaml:5:29: guest.workload.hot: uniform does not use this key; it uses kind, rate, working-set',
      's.yaml:5:52: guest.workload.working-set: found 1GiB; allowed is a multiple of 4KiB, ' +
        "at most the guest's memory of 256MiB",
      's.yaml:7:30: migration.technique[1]: found "precopy"; allowed is one of stop-and-copy, pre-copy, ' +
        'post-copy, hybrid, auto; did you mean "pre-copy"?',
      's.yaml:8:19: migration.downtime-limit: found 300; allowed is a time in us, ms, s, m or h ' +
        'such as 20ms, from 0s to 2000s, or a list of them',
      's.yaml:9:18: migration.max-bandwidth: found "0mbit"; allowed is a bandwidth in bit, kbit, mbit, ' +
        'gbit, KiB/s, MiB/s, MB/s ... such as 200mbit, or unlimited, from 8kbit to 125GB/s, ' +
        'or a list of them, or adaptive',
      's.yaml:11:7: migration.failpoints[0].for: for is missing; allowed is a time such as 20ms',
    ]);
  });

  it.each([
    ['memory: 1.1MB', 'found 1100kB; allowed is a multiple'],
    ['memory: 512KiB', 'from 1MiB to 16GiB'],
    ['memory: 32GiB', 'from 1MiB to 16GiB'],
    ['vcpus: 9', 'a whole number from 1 to 8'],
    ['device-state: 65MiB', 'from 0B to 64MiB'],
    ['content: {zero: 0.6, duplicate: 0.3, shared: 0.2}', 'at most 1 together'],
    ['content: {zero: 1.5}', 'a number from 0 to 1'],
    ['workload: {rate: 5 pages/s}', 'kind is missing'],
    ['workload: {kind: hot}', 'allowed is one of idle, uniform'],
    ['workload: {kind: uniform, rate: 5000}', 'found 5000; allowed is a rate in pages/s or ops/s'],
    ['workload: {kind: uniform, working-set: 5000B}', 'a multiple of 4KiB'],
    ['workload: {kind: kv, read: 0.9, scan: 0.3}', 'together at most 1'],
    ['workload: {kind: phased, rate: unlimited}', 'multiples of the rate'],
    ['workload: {kind: phased, phases: []}', 'at least one phase'],
    ['workload: {kind: phased, phases: [{kind: idle, duration: 1s, hot: 1}]}', 'idle does not use this key'],
    ['workload: {kind: trace}', 'trace is missing'],
    ['workload: {kind: trace, trace: nowhere.txt}', 'nowhere.txt: cannot read it'],
  ])('is refused for guest: {%s}', (guest, message) => {
    expect(withGuest(guest)).toEqual([expect.stringContaining(message)]);
  });

  it.each([
    ['channels: 17', 'a whole number from 1 to 16'],
    ['max-rounds: 0', 'a whole number from 1 to 1000'],
    ['total-time-limit: 2h', 'from 1ms to 1h'],
    ['on-timeout: wait', 'one of abort, stop-and-copy'],
    ['limit-final-round: maybe', 'true or false'],
    ['failpoints: [{at: setup, do: kill, for: 1s}]', 'kill does not use this key'],
    ['failpoints: [{at: setup, do: kill}, {at: setup, do: kill}]', 'a second time'],
    ['failpoints: [{at: setup, do: delay, for: 1h}]', 'to 10m'],
  ])('is refused for migration: {%s}', (options, message) => {
    expect(withMigration(options)).toEqual([expect.stringContaining(message)]);
  });

  it.each([
    ['pre-copy', 'hot-set: 0.1', 'pre-copy does not use this key; it uses channels, downtime-limit'],
    ['post-copy', 'switch-after: 1s', 'post-copy with push: sequential does not use this key'],
    ['post-copy', 'on-timeout: abort', 'does not use this key'],
    ['post-copy', 'total-time-limit: 1s', 'post-copy with push: sequential does not use this key'],
    ['post-copy', 'pivots: 3', 'post-copy with push: sequential does not use this key'],
    [
      '[post-copy, hybrid]',
      'push: none, accessed-first: true',
      'post-copy and hybrid with push: none does not',
    ],
    ['hybrid', 'push: bubbling, pivots: 10', 'a whole number from 1 to 9'],
    ['hybrid', 'push: often', 'one of none, sequential, bubbling'],
    ['hybrid', 'switch-after-share: 2', 'a number from 0 to 1'],
    [
      'post-copy',
      'recovery: manual, recovery-limit: 1s',
      'sequential and recovery: manual does not use this',
    ],
    ['post-copy', 'push: bubling', 'or a list of them; did you mean "bubbling"?'],
  ])('is refused for technique %s with {%s}', (technique, options, message) => {
    const said = problemsOf(`guest: {}\nmigration: {technique: ${technique}, ${options}}`);
    expect(said).toEqual([expect.stringContaining(message)]);
  });

  it('is refused for a goal without a technique that is chosen for it', () => {
    expect(withMigration('goal: {max-downtime: 50ms}')).toEqual([
      expect.stringContaining('migration.goal: a goal is what technique auto chooses for'),
    ]);
    expect(problemsOf('guest: {}\nmigration: {technique: auto, goal: {max-degradation: 120}}')).toEqual([
      expect.stringContaining('a number of percent from 0 to 99'),
    ]);
  });

  it('is refused for values outside guest and migration', () => {
    const said = problemsOf(
      `${SMALLEST}trials: 1001\nseed: 1.5\nwarm-up: 1h\nfabric: {kind: docker, hosts: 1}`,
    );
    expect(said).toEqual([
      expect.stringContaining('s.yaml:3:9: trials: found 1001'),
      expect.stringContaining('s.yaml:4:7: seed: found 1.5'),
      expect.stringContaining('s.yaml:5:10: warm-up: found "1h"'),
      expect.stringContaining('s.yaml:6:16: fabric.kind: found "docker"; allowed is one of process, netns'),
      expect.stringContaining('s.yaml:6:31: fabric.hosts: found 1; allowed is a whole number from 2 to 64'),
    ]);
  });

  it('is refused when two copies of the guest do not fit the machine', () => {
    const text = 'guest: {memory: 3GiB}\nmigration: {technique: pre-copy}';
    expect(problemsOf(text, 4 * 2 ** 30)).toEqual([
      expect.stringContaining("allowed is at most 2GiB, half of this machine's memory"),
    ]);
    expect(problemsOf(text, 8 * 2 ** 30)).toEqual([]);
  });

  it('is refused as YAML with the place', () => {
    expect(problemsOf(`${SMALLEST}seed: 1\nseed: 2`)).toEqual([
      's.yaml:4:1: not valid YAML: Map keys must be unique',
    ]);
    expect(problemsOf('name: "open')).toEqual([expect.stringContaining('s.yaml:1:12: not valid YAML')]);
    expect(problemsOf('')).toEqual([expect.stringContaining('s.yaml:1:1: found nothing')]);
    expect(problemsOf('- 1')).toEqual([expect.stringContaining('found a list')]);
  });

  it('cannot make the reader work without bounds', () => {
    const laughs =
      'a: &a [1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b]\nd: [*c,*c,*c]\n';
    expect(problemsOf(laughs)).toEqual([expect.stringContaining('Excessive alias count')]);
    expect(problemsOf('['.repeat(20_000))).toEqual([expect.stringContaining('levels of nesting')]);
    const unknown = Array.from({ length: 5000 }, (_, index) => `k${index}: 1`).join('\n');
    expect(problemsOf(`${SMALLEST}${unknown}`)).toHaveLength(100);
    expect(problemsOf(`${SMALLEST}__proto__: {trials: 5}`)).toEqual([expect.stringContaining('unknown key')]);
  });
});

describe('a spec file', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'godwit-spec-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const write = (name: string, content: string | Uint8Array): string => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };

  it('is refused when it is missing, too great or no text', () => {
    expect(() => loadSpec(join(folder, 'nowhere.yaml'))).toThrow(
      'cannot read the spec: there is no such file',
    );
    expect(() => loadSpec(write('great.yaml', `${SMALLEST}#${'x'.repeat(2 ** 20)}`))).toThrow(
      'allowed is at most 1048576 bytes',
    );
    expect(() => loadSpec(write('bytes.yaml', Uint8Array.of(0xff, 0xfe, 0x00)))).toThrow('not UTF-8');
  });

  it('names a trace beside it, whose writes the guest gets', () => {
    write('writes.trace', '# recorded\n0 5\n\n1.5 7  # later\n');
    const text = 'guest: {memory: 1MiB, workload: {kind: trace, trace: writes.trace}}\n';
    const spec = loadSpec(write('traced.yaml', `${text}migration: {technique: pre-copy}`));
    expect(spec.traceFile).toBe(join(folder, 'writes.trace'));
    expect([...(spec.guest.workload?.trace ?? [])]).toEqual([
      ...[0, 0, 0, 0, 5, 0, 0, 0],
      ...[0xdc, 0x05, 0, 0, 7, 0, 0, 0],
    ]);
  });

  it('is refused for a wrong trace, with the line', () => {
    write('wrong.trace', '2 5\n1 6\n3 256\n3 x\n');
    const text = 'guest: {memory: 1MiB, workload: {kind: trace, trace: wrong.trace}}\n';
    const file = write('traced.yaml', `${text}migration: {technique: pre-copy}`);
    expect(() => loadSpec(file)).toThrow(
      new RegExp(
        'wrong.trace: line 2: found the time 1 ms after 2 ms[^]*' +
          'line 3: found page 256; allowed are the guest.s pages, 0 to 255[^]*' +
          'line 4: found "3 x"; allowed is "time-ms page"',
      ),
    );
  });
});
