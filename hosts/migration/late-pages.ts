/** What both sides know of a migration whose guest runs before all its pages have come. */

import type { MigrationOptions } from '../../proto/generated/godwit/v1/migration.ts';

type Known = Pick<MigrationOptions, 'technique' | 'postcopyPreempt'>;

/** Whether pages may follow when the guest runs at the destination. */
export function hasLatePages({ technique }: Known): boolean {
  return technique === 'post-copy' || technique === 'hybrid';
}

/** How many connections for demanded pages there are behind the channels: 1 or 0. */
export function priorityChannels(options: Known): number {
  return options.postcopyPreempt && hasLatePages(options) ? 1 : 0;
}
