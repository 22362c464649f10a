/**
 * Threads that stand for something outside of the machine's processor, such as a link or a NIC, or that
 * measure: they should not wait for it.
 */

import { setPriority } from 'node:os';

/** The nice value of such a thread. */
const NICE = -15;

/**
 * Lets this thread go before others, where the system allows it (root, or CAP_SYS_NICE). On Linux a priority
 * belongs to the thread that sets it; elsewhere to the process.
 */
export function goFirst(): void {
  try {
    setPriority(0, NICE);
  } catch {
    // An ordinary user has ordinary threads: on a busy machine times are then less even.
  }
}
