/**
 * The bytes between hosts and a forwarder: whatever is said arrives as it was said, however the stream is cut, and
 * whatever else comes is refused without harm.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  decodeForwarderFrame,
  decodeHostFrame,
  encodeFrame,
  FORWARDER_FLOW_BYTES,
  FORWARDER_FRAME_BYTES_MAX,
  type ForwarderFrame,
  flowInstance,
  flowNumber,
  flowOf,
  type HostFrame,
} from '../../proto/forwarder-wire.ts';
import { MESSAGE_BYTES_MAX } from '../../proto/guest-request.ts';
import { MessageSplitter, SplitEnd, withLength } from '../../proto/message-stream.ts';

const bytes = (minLength: number, maxLength: number) =>
  fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array));
const flow = bytes(FORWARDER_FLOW_BYTES, FORWARDER_FLOW_BYTES);
const message = bytes(1, MESSAGE_BYTES_MAX);
const text = fc.string({ maxLength: 60 });

const hostFrame: fc.Arbitrary<HostFrame> = fc.oneof(
  fc.record({ kind: fc.constant('hello' as const), version: fc.nat(65_535), token: text, guest: text }),
  fc.record({
    kind: fc.constant('announce' as const),
    epoch: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    round: fc.nat(),
  }),
  fc.constantFrom({ kind: 'withdraw' as const }, { kind: 'end' as const }),
  fc.record({ kind: fc.constant('taken' as const), number: fc.maxSafeNat() }),
  fc.record({ kind: fc.constant('response' as const), flow, message }),
);
const forwarderFrame: fc.Arbitrary<ForwarderFrame> = fc.oneof(
  fc.constant({ kind: 'welcome' as const }),
  fc.record({ kind: fc.constant('refused' as const), reason: text }),
  fc.record({ kind: fc.constant('request' as const), flow, message }),
);

/** Pushes a stream in pieces of these lengths and takes out what is whole after each. */
function split(stream: Buffer, lengths: readonly number[]): Buffer[] {
  const splitter = new MessageSplitter(FORWARDER_FRAME_BYTES_MAX);
  const found: Buffer[] = [];
  let offset = 0;
  for (let piece = 0; offset < stream.byteLength; piece++) {
    const end = Math.min(offset + (lengths[piece % lengths.length] ?? 1), stream.byteLength);
    splitter.push(stream.subarray(offset, end));
    offset = end;
    for (let next = splitter.next(); next !== SplitEnd.NEED_MORE; next = splitter.next()) {
      if (next === SplitEnd.MALFORMED) throw new Error('malformed');
      found.push(next);
    }
  }
  return found;
}

test('what a host says arrives as it was said, however the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(hostFrame, { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 5 }),
      (frames, lengths) => {
        const stream = Buffer.concat(frames.map((frame) => withLength(encodeFrame(frame))));
        expect(split(stream, lengths).map(decodeHostFrame)).toEqual(frames);
      },
    ),
  );
});

test('what a forwarder says arrives as it was said', () => {
  fc.assert(
    fc.property(forwarderFrame, (frame) => {
      expect(decodeForwarderFrame(encodeFrame(frame))).toEqual(frame);
    }),
  );
});

test('a frame that was cut off or has a byte too many is none, unless only its message differs', () => {
  fc.assert(
    fc.property(fc.oneof(hostFrame, forwarderFrame), fc.nat(), (frame, cut) => {
      if (frame.kind === 'response' || frame.kind === 'request') return;
      const whole = encodeFrame(frame);
      const decode = (part: Buffer) => decodeHostFrame(part) ?? decodeForwarderFrame(part);
      expect(decode(whole.subarray(0, cut % whole.byteLength))).toBeUndefined();
      expect(decode(Buffer.concat([whole, Buffer.of(0)]))).toBeUndefined();
    }),
  );
});

test('junk is refused or read, and never harms', () => {
  fc.assert(
    fc.property(bytes(0, 64), (junk) => {
      decodeHostFrame(junk);
      decodeForwarderFrame(junk);
      const splitter = new MessageSplitter(FORWARDER_FRAME_BYTES_MAX);
      splitter.push(junk);
      const first = splitter.next();
      const length = junk.byteLength >= 4 ? junk.readUInt32LE() : undefined;
      const isLong = length !== undefined && (length === 0 || length > FORWARDER_FRAME_BYTES_MAX);
      expect(first === SplitEnd.MALFORMED).toBe(isLong);
    }),
  );
});

test('a flow brings back its number and its forwarder', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), bytes(8, 8), (number, instance) => {
      const made = flowOf(number, instance);
      expect([flowNumber(made), flowInstance(made)]).toEqual([number, instance]);
    }),
  );
});
