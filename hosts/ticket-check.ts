/** A host takes part in a migration by a ticket that is good for just that: docs/wire.md. */

import { RpcError } from '../proto/errors.ts';
import type { Ticket } from '../proto/generated/godwit/v1/host.ts';
import { type TicketPurpose, ticketProblem } from './transform/encryption/ticket.ts';

/** The ticket, if it is good. @throws RpcError FAILED_PRECONDITION with what is wrong with it, without its secret */
export function mustHoldTicket(ticket: Ticket | undefined, purpose: TicketPurpose): Ticket {
  const problem = ticketProblem(ticket, purpose, Date.now());
  if (ticket !== undefined && problem === undefined) return ticket;
  throw new RpcError('FAILED_PRECONDITION', `migration "${purpose.migration}": ${problem}`);
}
