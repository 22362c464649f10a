/**
 * Tickets: what the two hosts of a migration prove to each other (docs/wire.md). They live in memory only, here
 * and at the two hosts: a coordinator that starts anew makes new migrations.
 */

import { randomBytes } from 'node:crypto';
import { DEADLINES_MS } from '../proto/deadlines.ts';
import type { Ticket } from '../proto/generated/godwit/v1/host.ts';

const SECRET_BYTES = 32;

/** A ticket for one migration, with a secret of its own; it expires when that has not been set up in time. */
export function newTicket(purpose: Omit<Ticket, 'expiresAtMs' | 'secret'>): Ticket {
  return { ...purpose, expiresAtMs: Date.now() + DEADLINES_MS.ticket, secret: randomBytes(SECRET_BYTES) };
}
