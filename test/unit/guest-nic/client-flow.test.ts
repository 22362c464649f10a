/** How a client of a guest's own address is told from others, and which one cannot be answered. */

import { expect, test } from 'vitest';
import { ClientProtocol, decodeClient, encodeClient } from '../../../hosts/guest-nic/client-flow.ts';

test('a flow says its client again, unless nothing can be sent to its port', () => {
  const client = { protocol: ClientProtocol.UDP, address: '10.0.2.255', port: 65_535 };
  expect(decodeClient(encodeClient(client))).toEqual(client);
  // A datagram may say that it comes from there; to send one there throws.
  expect(decodeClient(encodeClient({ ...client, port: 0 }))).toBeUndefined();
});
