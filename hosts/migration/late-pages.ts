/** The connections of a migration whose guest may run before all its pages have come, as both sides know them. */

import type { MigrationOptions } from '../../proto/generated/godwit/v1/migration.ts';
import { hasLatePages } from '../../proto/migration-options.ts';

type Known = Pick<MigrationOptions, 'technique' | 'postcopyPreempt'>;

/**
 * How many connections for demanded pages there are behind the channels: 1 or 0. A pre-copy has none, though it may be
 * switched by hand: few are, and each would pay for the connection and its thread.
 */
export function priorityChannels(options: Known): number {
  return options.postcopyPreempt && hasLatePages(options) ? 1 : 0;
}
