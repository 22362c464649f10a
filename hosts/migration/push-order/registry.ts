/** The order that a migration's options ask for. */

import {
  type MigrationOptions,
  PostcopyBubble,
  PostcopyPush,
} from '../../../proto/generated/godwit/v1/migration.ts';
import type { PageSet } from '../page-set.ts';
import { AccessedFirst } from './accessed-first.ts';
import { Bubbling } from './bubbling.ts';
import type { PushOrder } from './push-order.ts';

/** Demand paging alone. */
const PUSH_NOTHING: PushOrder = { next: () => undefined, demanded: () => {} };

type PushOptions = Pick<MigrationOptions, 'push' | 'pivots' | 'bubble' | 'accessedFirst'>;

/**
 * The order that the options ask for.
 *
 * @param unsent what the destination lacks; whoever sends a page takes it out
 * @param accessed the pages that the guest has lately accessed; used up when the options want them first
 * @throws when the options do not say whether to push
 */
export function pushOrder(options: PushOptions, unsent: PageSet, accessed: PageSet): PushOrder {
  const orderOf = (pages: PageSet): PushOrder => plainOrder(options, pages);
  return options.accessedFirst ? new AccessedFirst(unsent, accessed, orderOf) : orderOf(unsent);
}

function plainOrder({ push, pivots, bubble }: PushOptions, unsent: PageSet): PushOrder {
  switch (push) {
    case PostcopyPush.POSTCOPY_PUSH_NONE:
      return PUSH_NOTHING;
    case PostcopyPush.POSTCOPY_PUSH_SEQUENTIAL:
      // QEMU's scan goes on from the fault to the last page, and then from the first: a bubble with one edge.
      return new Bubbling(unsent, { pivots: 1, sides: 'forward' });
    case PostcopyPush.POSTCOPY_PUSH_BUBBLING: {
      const sides = bubble === PostcopyBubble.POSTCOPY_BUBBLE_FORWARD ? 'forward' : 'dual';
      return new Bubbling(unsent, { pivots, sides });
    }
    case PostcopyPush.POSTCOPY_PUSH_UNSPECIFIED:
      throw new Error('the options do not say whether to push; allowed is none, sequential or bubbling');
  }
}
