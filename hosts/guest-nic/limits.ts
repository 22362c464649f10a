/** The limits of a guest's NIC, in one place. */

/** How much of a problem is told to the coordinator. */
export const PROBLEM_CHARACTERS_MAX = 300;

/** How many messages the NIC takes out of a queue at once: some microseconds, for which a pause may have to wait. */
export const BURST_MESSAGES_MAX = 16;

/** An own address: TCP connections of clients to one guest; more are reset. */
export const CONNECTIONS_MAX = 1024;

/** An own address: datagrams kept for a guest that cannot take them now; what comes beyond is lost, as with UDP. */
export const DATAGRAMS_KEPT_MAX = 1024;

/** An own address: what may wait to be sent, by UDP, beyond which it is lost, and on a connection, which is reset. */
export const UNSENT_BYTES_MAX = 1024 * 1024;
