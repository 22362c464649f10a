/** The limits of a guest's NIC, in one place. */

/** How much of a problem is told to the coordinator. */
export const PROBLEM_CHARACTERS_MAX = 300;

/** How many messages the NIC takes out of a queue at once: some microseconds, for which a pause may have to wait. */
export const BURST_MESSAGES_MAX = 16;
