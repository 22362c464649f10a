/** The witness's decision table: who gets a guest whose handover is open. See docs/ownership.md. */

/** What is known of one side. The first seven are what a host answers; see HandoverStanding in host.proto. */
export const STANDINGS = [
  'kept',
  'committed',
  'ready',
  /** Post-copy: ready, and pages of the guest are at the source only. */
  'ready-lacking',
  'resumed',
  'abandoned',
  'moving',
  /** Its lease has ended, or it is a new process that knows nothing of the guest. */
  'dead',
  /** It does not answer, but its lease may live: it may still run the guest. */
  'unreachable',
] as const;
export type Standing = (typeof STANDINGS)[number];

/** `wait`: nothing can be said yet; ask again. `lost`: nobody who can be reached has the whole guest. */
export type Decision = 'source' | 'destination' | 'lost' | 'wait';

/** Who gets the guest, by the first line of the table that fits. */
export function resolveHandover(source: Standing, destination: Standing): Decision {
  if (destination === 'resumed' || source === 'resumed') return 'destination';
  if (source === 'kept') return 'source';
  if (source === 'committed') {
    if (destination === 'ready' || destination === 'ready-lacking') return 'destination';
    if (destination === 'abandoned' || destination === 'dead') return 'source';
  }
  // A source that holds nothing of the migration (it is a new process) is as good as dead.
  if (source === 'dead' || source === 'abandoned') {
    if (destination === 'ready') return 'destination';
    // One that only seems dead comes back with the whole guest: it is not to be given to a part of it.
    if (destination === 'ready-lacking') return 'lost';
    if (destination === 'abandoned' || destination === 'dead') return 'lost';
  }
  return 'wait';
}
