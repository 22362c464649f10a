/** Whether a migration has a connection for demanded pages, behind its channels for all pages: both sides ask here. */

import type { MigrationOptions } from '../../proto/generated/godwit/v1/migration.ts';

/** @returns 1 or 0 */
export function priorityChannels({ technique, postcopyPreempt }: MigrationOptions): number {
  return postcopyPreempt && (technique === 'post-copy' || technique === 'hybrid') ? 1 : 0;
}
