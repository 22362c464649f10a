/** What a codec does to some bytes, measured on this thread: for the choice of a codec, and for people. */

import { nowMs } from '../clock.ts';
import type { CodecChoice } from './codec-chooser.ts';
import type { CodecCost } from './codec-policy.ts';
import { CODECS, codeWith, decodePayload } from './codecs/registry.ts';

const NS_PER_MS = 1e6;
const RUNS = 2;

/** The better of two times: in the other one this thread may have lost the processor. */
export function costOfCodec(choice: CodecChoice, bytes: Uint8Array): CodecCost {
  let ratio = 1;
  let encodeNsPerByte = Number.POSITIVE_INFINITY;
  let decodeNsPerByte = Number.POSITIVE_INFINITY;
  for (let run = 0; run < RUNS; run++) {
    const startMs = nowMs();
    const { coded } = codeWith(choice, bytes);
    const codedMs = nowMs();
    if (coded !== undefined && choice.codec !== 'none') {
      decodePayload(CODECS[choice.codec].wire, coded, bytes.byteLength);
      ratio = coded.byteLength / bytes.byteLength;
    }
    const decodedMs = nowMs();
    encodeNsPerByte = Math.min(encodeNsPerByte, ((codedMs - startMs) * NS_PER_MS) / bytes.byteLength);
    decodeNsPerByte = Math.min(decodeNsPerByte, ((decodedMs - codedMs) * NS_PER_MS) / bytes.byteLength);
  }
  return { ratio, encodeNsPerByte, decodeNsPerByte };
}
