/** What a spec and the command line may say about transforms, and what they are told when it is wrong. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { migrationFromFlags } from '../../../cli/flags-to-spec.ts';
import { Compression, DedupScope, Encryption } from '../../../proto/generated/godwit/v1/migration.ts';
import { defaultMigrationOptions, migrationOptionsProblems } from '../../../proto/migration-options.ts';
import { CODEC_LEVELS, CODEC_NAMES, DEFAULT_TRANSFORMS, transformsOf } from '../../../proto/transforms.ts';
import { parseSpec } from '../../../spec/parse-spec.ts';
import { plainTransforms } from '../../../spec/transforms-section.ts';

const transformsIn = (list: string) => {
  const text = `guest: {}\nmigration: {technique: pre-copy, transforms: ${list}}`;
  return transformsOf(parseSpec(text, 's.yaml').migration['pre-copy']);
};

const problemOf = (list: string): string => {
  try {
    transformsIn(list);
  } catch (error) {
    return (error as Error).message.replace(/^s\.yaml:2:\d+: migration\.transforms/, '');
  }
  return 'nothing is wrong';
};

describe('the transforms of a spec', () => {
  it('are zero and encryption when nothing is said, and whenever encryption is not named', () => {
    expect(transformsOf(defaultMigrationOptions('pre-copy'))).toEqual(DEFAULT_TRANSFORMS);
    expect(DEFAULT_TRANSFORMS).toMatchObject({ zero: true, encryption: Encryption.ENCRYPTION_AES_256_GCM });
    expect(transformsIn('[]')).toEqual({ ...DEFAULT_TRANSFORMS, zero: false });
    expect(transformsIn('[zero]')).toEqual(DEFAULT_TRANSFORMS);
    expect(transformsIn('[zero, encryption: none]').encryption).toBe(Encryption.ENCRYPTION_NONE);
  });

  it('are names, or names with options', () => {
    expect(transformsIn('[zero, dedup, delta, compression, encryption]')).toEqual({
      zero: true,
      dedup: DedupScope.DEDUP_SCOPE_GUEST,
      deltaCacheBytes: 64n << 20n,
      compression: Compression.COMPRESSION_ADAPTIVE,
      compressionLevel: 0,
      compressionThreads: DEFAULT_TRANSFORMS.compressionThreads,
      encryption: Encryption.ENCRYPTION_AES_256_GCM,
    });
    const long = `
    - dedup: {scope: gang}
    - delta: {cache-size: 16MiB}
    - compression: {codec: zstd, level: -5, threads: 0}
    - encryption: tls`;
    expect(transformsIn(`[${long.replaceAll('\n    - ', ', ').slice(2)}]`)).toEqual({
      zero: false,
      dedup: DedupScope.DEDUP_SCOPE_GANG,
      deltaCacheBytes: 16n << 20n,
      compression: Compression.COMPRESSION_ZSTD,
      compressionLevel: -5,
      compressionThreads: 0,
      encryption: Encryption.ENCRYPTION_TLS,
    });
  });

  it('are written down as they are read', () => {
    fc.assert(
      fc.property(
        fc.record({
          zero: fc.boolean(),
          dedup: fc.constantFrom(...[1, 2, 3, 4].map((scope) => scope as DedupScope)),
          deltaCacheBytes: fc.constantFrom(0n, 4096n, 64n << 20n, 1n << 30n),
          encryption: fc.constantFrom(...[1, 2, 3, 4, 5].map((one) => one as Encryption)),
        }),
        fc.oneof(
          fc.constant(DEFAULT_TRANSFORMS),
          fc.record({
            compression: fc.constantFrom(Compression.COMPRESSION_ZSTD, Compression.COMPRESSION_FFLATE),
            compressionLevel: fc.nat(9),
            compressionThreads: fc.nat(16),
          }),
        ),
        (some, { compression, compressionLevel, compressionThreads }) => {
          const transforms = { ...some, compression, compressionLevel, compressionThreads };
          expect(transformsIn(JSON.stringify(plainTransforms(transforms)))).toEqual(transforms);
        },
      ),
    );
  });

  it.each([
    ['[delta, zero]', '[1]: found "zero" behind "delta", where no page can be seen to be of zeroes any more'],
    ['[encryption, compression]', '[1]: found "compression" behind "encryption", where nothing can be'],
    ['[zero, compression: lz4, dedup]', '[2]: found "dedup" behind "compression", where equal pages are not'],
    ['[zero, zero]', '[1]: found "zero" a second time; allowed is once'],
    ['[dedup: {}, dedup: {scope: gang}]', '[1]: found "dedup" a second time'],
    ['[{dedup: {}, delta: {}}]', '[0]: found another number of transforms than one'],
    ['[{}]', '[0]: found another number of transforms than one'],
    [
      '[zeroo]',
      '[0]: found "zeroo"; allowed is one of zero, dedup, delta, compression, encryption, or a mapping',
    ],
    ['zero', ': found "zero"; allowed is a list of some of zero,'],
    ['[dedup: {scope: moon}]', '[0].dedup.scope: found "moon"; allowed is one of guest, gang, host'],
    [
      '[dedup: {scop: gang}]',
      '[0].dedup.scop: found an unknown key; allowed are scope; did you mean "scope"?',
    ],
    ['[delta: {cache-size: 63MiB}]', '[0].delta.cache-size: found 63MiB; allowed is a power of two'],
    ['[delta: {cache-size: 1KiB}]', '[0].delta.cache-size: found "1KiB"; allowed is a size in'],
    ['[compression: lz5]', '[0].compression: found "lz5"; allowed is one of none, adaptive, fflate,'],
    [
      '[compression: {codec: lz4, level: 3}]',
      '[0].compression.level: compression level is 3; lz4 takes none',
    ],
    [
      '[compression: {codec: zstd, level: 20}]',
      '[0].compression.level: compression level is 20; zstd has -7 to 19',
    ],
    [
      '[compression: {codec: zstd, level: 0}]',
      '[0].compression.level: found 0; allowed is a level of the codec',
    ],
    [
      '[compression: {codec: zstd, threads: 17}]',
      '[0].compression.threads: found 17; allowed is a whole number',
    ],
    ['[encryption: rot13]', '[0].encryption: found "rot13"; allowed is one of aes-256-gcm,'],
  ])('refuse %s', (list, problem) => {
    expect(problemOf(list)).toContain(problem);
  });
});

it('flags take the list as it stands between the brackets of a spec', () => {
  const transformsOn = (transforms: string) => transformsOf(migrationFromFlags({ transforms }));
  expect(transformsOn('zero,dedup,delta')).toEqual(transformsIn('[zero, dedup, delta]'));
  expect(transformsOn('zero, compression: lz4, encryption: none')).toEqual(
    transformsIn('[zero, compression: lz4, encryption: none]'),
  );
  expect(() => migrationFromFlags({ transforms: 'delta, zero' })).toThrow(
    /^--transforms: found "zero" behind/,
  );
  expect(() => migrationFromFlags({ transforms: 'zero, ]' })).toThrow(/^--transforms: .*allowed is a list/);
});

it.each([
  ['a scope', { dedup: 9 as DedupScope }, 'dedup is 9; allowed is none, guest, gang, host'],
  ['a codec', { compression: 0 as Compression }, 'compression is 0; allowed is none, adaptive,'],
  ['an encryption', { encryption: 0 as Encryption }, 'encryption is 0; allowed is aes-256-gcm,'],
  [
    'a cache',
    { deltaCacheBytes: 5000n },
    'delta cache is 5000 bytes; allowed is 0 (no delta) or a power of two',
  ],
  ['a level', { compressionLevel: 1 }, 'compression level is 1; none takes none'],
  ['a crowd', { compressionThreads: 17 }, 'compression threads is 17; allowed is 0 to 16'],
])('coordinator and hosts refuse %s that there is not', (_, change, problem) => {
  const options = {
    ...defaultMigrationOptions('pre-copy'),
    transforms: { ...DEFAULT_TRANSFORMS, ...change },
  };
  expect(migrationOptionsProblems(options)).toEqual([expect.stringContaining(problem)]);
});

it('each codec with levels has a default among them', () => {
  for (const name of CODEC_NAMES) {
    const levels = CODEC_LEVELS[name];
    if (levels === undefined) continue;
    expect(levels.default).toBeGreaterThanOrEqual(levels.min);
    expect(levels.default).toBeLessThanOrEqual(levels.max);
    expect(levels.default).not.toBe(0);
  }
});
