/**
 * What Transforms may say: names, defaults, limits, and what is wrong with some. docs/transforms.md says what each
 * transform does.
 */

import {
  Compression,
  DedupScope,
  Encryption,
  type MigrationOptions,
  type Transforms,
} from './generated/godwit/v1/migration.ts';
import { PAGE_BYTES } from './page.ts';

/** The transforms in the only order in which they can be done. */
export const TRANSFORMS = ['zero', 'dedup', 'delta', 'compression', 'encryption'] as const;
export type TransformName = (typeof TRANSFORMS)[number];

export const DEDUP_SCOPES = ['guest', 'gang', 'host'] as const;
export type DedupScopeName = (typeof DEDUP_SCOPES)[number];
export const CODEC_NAMES = ['fflate', 'deflate', 'zstd', 'lz4', 'snappy'] as const;
export type CodecName = (typeof CODEC_NAMES)[number];
export const COMPRESSIONS = ['none', 'adaptive', ...CODEC_NAMES] as const;
export type CompressionName = (typeof COMPRESSIONS)[number];
export const ENCRYPTIONS = ['aes-256-gcm', 'chacha20-poly1305', 'nacl-secretbox', 'tls', 'none'] as const;
export type EncryptionName = (typeof ENCRYPTIONS)[number];

const MEBIBYTE = 1024 * 1024;

export const TRANSFORM_LIMITS = {
  deltaCacheBytesMin: PAGE_BYTES,
  deltaCacheBytesMax: 4096 * MEBIBYTE,
  compressionThreadsMax: 16,
} as const;

/** The levels of the codecs that have some. The defaults are those that keep up with fast links. */
export const CODEC_LEVELS: Readonly<
  Record<CodecName, { readonly min: number; readonly max: number; readonly default: number } | undefined>
> = {
  fflate: { min: 1, max: 9, default: 1 },
  deflate: { min: 1, max: 9, default: 1 },
  zstd: { min: -7, max: 19, default: 1 },
  lz4: undefined,
  snappy: undefined,
};

/** QEMU's xbzrle-cache-size. */
export const DEFAULT_DELTA_CACHE_BYTES = 64 * MEBIBYTE;

/** What is done when nothing is said: nobody's memory crosses a network in the clear unasked. */
export const DEFAULT_TRANSFORMS: Readonly<Transforms> = {
  zero: true,
  dedup: DedupScope.DEDUP_SCOPE_NONE,
  deltaCacheBytes: 0n,
  compression: Compression.COMPRESSION_NONE,
  compressionLevel: 0,
  compressionThreads: 1,
  encryption: Encryption.ENCRYPTION_AES_256_GCM,
};

const SCOPE_OF: Readonly<Record<DedupScopeName | 'none', DedupScope>> = {
  none: DedupScope.DEDUP_SCOPE_NONE,
  guest: DedupScope.DEDUP_SCOPE_GUEST,
  gang: DedupScope.DEDUP_SCOPE_GANG,
  host: DedupScope.DEDUP_SCOPE_HOST,
};

const COMPRESSION_OF: Readonly<Record<CompressionName, Compression>> = {
  none: Compression.COMPRESSION_NONE,
  adaptive: Compression.COMPRESSION_ADAPTIVE,
  fflate: Compression.COMPRESSION_FFLATE,
  deflate: Compression.COMPRESSION_DEFLATE,
  zstd: Compression.COMPRESSION_ZSTD,
  lz4: Compression.COMPRESSION_LZ4,
  snappy: Compression.COMPRESSION_SNAPPY,
};

const ENCRYPTION_OF: Readonly<Record<EncryptionName, Encryption>> = {
  'aes-256-gcm': Encryption.ENCRYPTION_AES_256_GCM,
  'chacha20-poly1305': Encryption.ENCRYPTION_CHACHA20_POLY1305,
  'nacl-secretbox': Encryption.ENCRYPTION_NACL_SECRETBOX,
  tls: Encryption.ENCRYPTION_TLS,
  none: Encryption.ENCRYPTION_NONE,
};

/** Names and the contracts' numbers; a number that nobody knows is undefined. */
export const dedupScopeOf = (name: DedupScopeName | 'none'): DedupScope => SCOPE_OF[name];
export const compressionOf = (name: CompressionName): Compression => COMPRESSION_OF[name];
export const encryptionOf = (name: EncryptionName): Encryption => ENCRYPTION_OF[name];
export const dedupScopeName = (scope: DedupScope) => nameIn(SCOPE_OF, scope);
export const compressionName = (compression: Compression) => nameIn(COMPRESSION_OF, compression);
export const encryptionName = (encryption: Encryption) => nameIn(ENCRYPTION_OF, encryption);

function nameIn<Name extends string>(numbers: Readonly<Record<Name, number>>, wanted: number) {
  return (Object.keys(numbers) as Name[]).find((name) => numbers[name] === wanted);
}

/** The transforms of a migration. */
export function transformsOf({ transforms }: Pick<MigrationOptions, 'transforms'>): Readonly<Transforms> {
  return transforms ?? DEFAULT_TRANSFORMS;
}

/** Everything that is wrong with the transforms of a migration, as sentences. */
export function transformsProblems(transforms: Readonly<Transforms>): string[] {
  const { dedup, compression, compressionThreads, encryption } = transforms;
  const problems: string[] = [];
  if (dedupScopeName(dedup) === undefined) {
    problems.push(`dedup is ${dedup}; allowed is none, ${DEDUP_SCOPES.join(', ')}`);
  }
  const codec = compressionName(compression);
  if (codec === undefined)
    problems.push(`compression is ${compression}; allowed is ${COMPRESSIONS.join(', ')}`);
  else problems.push(...levelProblems(codec, transforms.compressionLevel));
  const { compressionThreadsMax } = TRANSFORM_LIMITS;
  if (compressionThreads > compressionThreadsMax) {
    problems.push(`compression threads is ${compressionThreads}; allowed is 0 to ${compressionThreadsMax}`);
  }
  if (encryptionName(encryption) === undefined) {
    problems.push(`encryption is ${encryption}; allowed is ${ENCRYPTIONS.join(', ')}`);
  }
  return [...problems, ...cacheProblems(Number(transforms.deltaCacheBytes))];
}

function cacheProblems(bytes: number): string[] {
  const { deltaCacheBytesMin: min, deltaCacheBytesMax: max } = TRANSFORM_LIMITS;
  if (bytes === 0 || (bytes >= min && bytes <= max && Number.isInteger(Math.log2(bytes)))) return [];
  return [`delta cache is ${bytes} bytes; allowed is 0 (no delta) or a power of two from ${min} to ${max}`];
}

/** What is wrong with a codec's level; 0 is its own default. */
export function levelProblems(codec: CompressionName, level: number): string[] {
  if (level === 0) return [];
  const levels = codec === 'none' || codec === 'adaptive' ? undefined : CODEC_LEVELS[codec];
  if (levels === undefined) return [`compression level is ${level}; ${codec} takes none`];
  if (level >= levels.min && level <= levels.max) return [];
  return [`compression level is ${level}; ${codec} has ${levels.min} to ${levels.max}`];
}
