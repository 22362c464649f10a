/** The limits of hosts/guest-nic, in one place. */

/** TCP connections of clients to one guest; more are reset. */
export const CONNECTIONS_MAX = 1024;

/** Datagrams that are kept for a guest which cannot take them now; what comes beyond them is lost, as with UDP. */
export const DATAGRAMS_KEPT_MAX = 1024;

/** What may wait to be sent to clients: by UDP, beyond which it is lost, and on one connection, which is reset then. */
export const UNSENT_BYTES_MAX = 1024 * 1024;
