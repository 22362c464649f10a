/**
 * The boot content of a guest, from its spec: what fill.ts writes and audit.ts expects where nothing was
 * written.
 */

import type { GuestSpec } from '../../proto/generated/godwit/v1/guest.ts';
import { type Content, createContent } from '../../workloads/content.ts';

/** @throws when the spec has no content model */
export function bootContent(spec: GuestSpec): Content {
  if (spec.content === undefined) {
    throw new Error(`guest ${spec.name}: its spec has no content model; send one, all shares 0 if need be`);
  }
  return createContent(spec.content, spec.seed);
}
