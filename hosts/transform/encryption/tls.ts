/**
 * Channels through TLS 1.3 (RFC 8446) in place of godwit's own records. Both ends know each other by a
 * pre-shared key from the migration's ticket, together with an ephemeral exchange (psk_dhe_ke): there is no
 * certificate to make, to trust or to expire.
 *
 * Node hands pre-shared keys over by OpenSSL's older interface, which offers TLS 1.3 exactly one cipher suite for them:
 * TLS_AES_128_GCM_SHA256. HELLO and WELCOME go through it as on any other connection, and their proofs are
 * bound to this very TLS connection by its exporter (RFC 9266).
 */

import type { NetConnectOpts, Socket } from 'node:net';
import type { SecureContext, TLSSocket, TLSSocketOptions } from 'node:tls';
import type { Ticket } from '../../../proto/generated/godwit/v1/host.ts';
import { lazily } from '../lazy-module.ts';
import { ticketKey } from './handshake.ts';

const VERSIONS = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256:PSK',
} as const;
const BINDING_BYTES = 32;
const BINDING_LABEL = 'EXPORTER-Channel-Binding';
/** A record of TLS holds at most so much, and adds its header, its tag and the kind of its content. */
const TLS_RECORD_BYTES = 16_384;
const TLS_RECORD_OVERHEAD_BYTES = 22;

/** 2 MiB of a thread, so that it is loaded where it is asked for. */
const tls = lazily<typeof import('node:tls')>('node:tls');

function isTls(socket: Socket): socket is TLSSocket {
  return 'encrypted' in socket;
}

/** The types lack what Node documents for TLSSocket with `isServer`. */
type PskServerOptions = TLSSocketOptions & {
  pskCallback(socket: TLSSocket, identity: string): Buffer | null;
};

let context: SecureContext | undefined;

/**
 * The destination's end of a connection. HELLO may be said when it has emitted `secureConnect`.
 *
 * @param options what `net.connect` takes, with `onread`
 */
export function dialTls(options: NetConnectOpts, ticket: Ticket): TLSSocket {
  const psk = ticketKey(ticket, 'tls');
  return tls().connect({
    ...options,
    ...VERSIONS,
    pskCallback: () => ({ psk, identity: ticket.migration }),
    // There are no certificates: who has not the ticket's key does not come so far.
    checkServerIdentity: () => undefined,
  });
}

/** The source's end of an accepted connection. */
export function acceptTls(socket: Socket, ticket: Ticket): TLSSocket {
  context ??= tls().createSecureContext(VERSIONS);
  const psk = ticketKey(ticket, 'tls');
  const options: PskServerOptions = {
    ...VERSIONS,
    isServer: true,
    secureContext: context,
    pskCallback: (_, identity) => (identity === ticket.migration ? psk : null),
  };
  return new (tls().TLSSocket)(socket, options);
}

/** What only the two ends of this connection know; empty for a connection without TLS. */
export function channelBinding(socket: Socket): Uint8Array {
  if (!isTls(socket)) return new Uint8Array(0);
  return socket.exportKeyingMaterial(BINDING_BYTES, BINDING_LABEL, Buffer.alloc(0));
}

/** What a write of so many bytes becomes on the wire. */
export function wireBytesOf(socket: Socket, byteCount: number): number {
  if (!isTls(socket)) return byteCount;
  return byteCount + Math.ceil(byteCount / TLS_RECORD_BYTES) * TLS_RECORD_OVERHEAD_BYTES;
}

/** Whether a connection was ended since its TLS was not as it should be, and not by the network. */
export function isTlsViolation(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code !== undefined && /^(ERR_SSL|ERR_TLS|EPROTO)/.test(code);
}
