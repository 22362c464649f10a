/** Goal: the table of codecs is of the codecs that migrations use, on content that says what to expect of them. */
import { expect, test } from 'vitest';
import { benchCodec, codecChoices } from '../../../cli/codec-bench.ts';
import { CODEC_NAMES } from '../../../proto/transforms.ts';

test('every codec that a spec may name is measured', () => {
  expect(new Set(codecChoices().map(({ codec }) => codec))).toEqual(new Set(CODEC_NAMES));
});

test.each(codecChoices())(
  '$codec at level $level leaves half of what is half random, and all of what is random',
  (choice) => {
    const half = benchCodec(choice, 0.5);
    expect(half.ratio).toBeGreaterThan(0.49);
    expect(half.ratio).toBeLessThan(0.6);
    expect(half.compressBytesPerS).toBeGreaterThan(0);
    expect(half.decompressBytesPerS).toBeGreaterThan(0);
    expect(benchCodec(choice, 0).ratio).toBeGreaterThan(0.99);
  },
);
