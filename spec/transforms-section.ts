/**
 * What a spec says about the transforms between memory and wire: a list in the only order in which they can be done,
 * each a name, or a mapping of the name to its options. docs/transforms.md.
 */

import { z } from 'zod';
import type { Transforms } from '../proto/generated/godwit/v1/migration.ts';
import {
  COMPRESSIONS,
  compressionName,
  compressionOf,
  DEDUP_SCOPES,
  DEFAULT_DELTA_CACHE_BYTES,
  DEFAULT_TRANSFORMS,
  dedupScopeName,
  dedupScopeOf,
  ENCRYPTIONS,
  encryptionName,
  encryptionOf,
  levelProblems,
  TRANSFORM_LIMITS,
  TRANSFORMS,
  type TransformName,
} from '../proto/transforms.ts';
import { choice, integer, quantity, section } from './fields.ts';
import type { Plain } from './plain-values.ts';
import type { BrokenRule } from './problems.ts';
import { size } from './units.ts';

const { deltaCacheBytesMin, deltaCacheBytesMax, compressionThreadsMax } = TRANSFORM_LIMITS;
const PATH = ['migration', 'transforms'];
const NAMES = TRANSFORMS.join(', ');

const compression = section({
  codec: choice(COMPRESSIONS).default('adaptive').describe('What compresses.'),
  level: z
    .int({ error: 'a whole number' })
    .optional()
    .describe("How much work the codec takes on itself. Default: the codec's own."),
  threads: integer(0, compressionThreadsMax)
    .default(DEFAULT_TRANSFORMS.compressionThreads)
    .describe('How many threads compress besides the mover; 0: the mover does it.'),
});

const options = section({
  dedup: section({
    scope: choice(DEDUP_SCOPES).default('guest').describe('Whose pages it looks at.'),
  }).optional(),
  delta: section({
    'cache-size': quantity(size, deltaCacheBytesMin, deltaCacheBytesMax)
      .prefault(size.format(DEFAULT_DELTA_CACHE_BYTES))
      .describe('Of what was sent; a power of two.'),
  }).optional(),
  compression: z
    .union([choice(COMPRESSIONS), compression], {
      error: `one of ${COMPRESSIONS.join(', ')}, or a mapping with the keys codec, level, threads`,
    })
    .optional(),
  encryption: choice(ENCRYPTIONS).optional(),
});

export const transformsSection = z
  .array(
    z.union([choice(TRANSFORMS), options], {
      error: `one of ${NAMES}, or a mapping of one of dedup, delta, compression, encryption to its options`,
    }),
    { error: `a list of some of ${NAMES}` },
  )
  .optional()
  .describe(
    'What is done to pages between memory and wire, in this order: ' +
      `${NAMES}. Default: zero, encryption; without encryption only by \`encryption: none\`.`,
  );

type TransformsSection = z.output<typeof transformsSection>;
type Entry = NonNullable<TransformsSection>[number];
type Options = Exclude<Entry, string>;

/** The transform that an entry names; undefined when it names none, or several. */
function nameOf(entry: Entry): TransformName | undefined {
  if (typeof entry === 'string') return entry;
  const [name, ...more] = Object.keys(entry) as TransformName[];
  return more.length === 0 ? name : undefined;
}

/** What breaks the rules between the entries of the list. */
export function transformsRules(list: TransformsSection): BrokenRule[] {
  const broken: BrokenRule[] = [];
  let last = -1;
  for (const [index, entry] of (list ?? []).entries()) {
    const path = [...PATH, index];
    const name = nameOf(entry);
    if (name === undefined) {
      broken.push({
        path,
        message: 'found another number of transforms than one; allowed is one in each entry',
      });
      continue;
    }
    const place = TRANSFORMS.indexOf(name);
    if (place === last) {
      broken.push({ path, message: `found "${name}" a second time; allowed is once` });
    } else if (place < last) {
      const found = `found "${name}" behind "${TRANSFORMS[last]}", ${ORDER_REASONS[name]}`;
      broken.push({ path, message: `${found}; allowed is the order ${NAMES}` });
    }
    last = Math.max(last, place);
    if (typeof entry === 'object') broken.push(...optionsRules(entry, path));
  }
  return broken;
}

/** Why a transform cannot come later. */
const ORDER_REASONS: Readonly<Record<TransformName, string>> = {
  zero: 'where no page can be seen to be of zeroes any more',
  dedup: 'where equal pages are not equal any more',
  delta: 'where a page cannot be compared any more with what was sent of it',
  compression: 'where nothing can be compressed any more',
  encryption: 'which is the last',
};

function optionsRules(entry: Options, path: BrokenRule['path']): BrokenRule[] {
  const cacheBytes = entry.delta?.['cache-size'];
  if (cacheBytes !== undefined && !Number.isInteger(Math.log2(cacheBytes))) {
    const message = `found ${size.format(cacheBytes)}; allowed is a power of two`;
    return [{ path: [...path, 'delta', 'cache-size'], message }];
  }
  if (typeof entry.compression !== 'object' || entry.compression.level === undefined) return [];
  const { codec, level } = entry.compression;
  const where = [...path, 'compression', 'level'];
  // 0 says "its default" in the contract.
  if (level === 0)
    return [{ path: where, message: 'found 0; allowed is a level of the codec, or no such key' }];
  return levelProblems(codec, level).map((message) => ({ path: where, message }));
}

/** The list as the contract has it. */
export function resolveTransforms(list: TransformsSection): Transforms {
  if (list === undefined) return { ...DEFAULT_TRANSFORMS };
  const transforms: Transforms = { ...DEFAULT_TRANSFORMS, zero: false };
  for (const entry of list) {
    const given: Options = typeof entry === 'string' ? {} : entry;
    switch (nameOf(entry)) {
      case 'zero':
        transforms.zero = true;
        break;
      case 'dedup':
        transforms.dedup = dedupScopeOf(given.dedup?.scope ?? 'guest');
        break;
      case 'delta':
        transforms.deltaCacheBytes = BigInt(given.delta?.['cache-size'] ?? DEFAULT_DELTA_CACHE_BYTES);
        break;
      case 'compression':
        Object.assign(transforms, compressionOptions(given.compression ?? 'adaptive'));
        break;
      case 'encryption':
        transforms.encryption = encryptionOf(given.encryption ?? 'aes-256-gcm');
        break;
      case undefined:
        break;
    }
  }
  return transforms;
}

function compressionOptions(given: NonNullable<Options['compression']>): Partial<Transforms> {
  if (typeof given === 'string') return { compression: compressionOf(given) };
  if (given.codec === 'none') return {};
  return {
    compression: compressionOf(given.codec),
    compressionLevel: given.level ?? 0,
    compressionThreads: given.threads,
  };
}

/** As people write it. */
export function plainTransforms(transforms: Transforms): Plain[] {
  const { zero, dedup, deltaCacheBytes, compression, compressionLevel, compressionThreads } = transforms;
  const scope = dedupScopeName(dedup) ?? 'none';
  const codec = compressionName(compression) ?? 'none';
  const level = compressionLevel === 0 ? {} : { level: compressionLevel };
  return [
    ...(zero ? ['zero'] : []),
    ...(scope === 'none' ? [] : [{ dedup: { scope } }]),
    ...(deltaCacheBytes === 0n ? [] : [{ delta: { 'cache-size': size.format(Number(deltaCacheBytes)) } }]),
    ...(codec === 'none' ? [] : [{ compression: { codec, ...level, threads: compressionThreads } }]),
    { encryption: encryptionName(transforms.encryption) ?? 'none' },
  ];
}
