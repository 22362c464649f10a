/** The stages of a migration's transforms at the source, and what restores their pages at the destination. */

import { Compression, DedupScope, type Transforms } from '../../proto/generated/godwit/v1/migration.ts';
import type { SharedGuest } from '../guest/shared-guest.ts';
import type { ReceivedMemory } from '../migration/received-memory.ts';
import type { PageRestorers } from './page-restorer.ts';
import type { TransformStage } from './stage.ts';

/** What stages are made of. */
export interface StageContext {
  readonly transforms: Transforms;
  readonly shared: SharedGuest;
  readonly channelCount: number;
}

export interface RestorerContext {
  readonly transforms: Transforms;
  readonly shared: SharedGuest;
  readonly received: ReceivedMemory;
}

/** In the order in which batches pass them: dedup, then delta. */
export function stagesOf(_context: StageContext): TransformStage[] {
  return [];
}

export function restorersOf(_context: RestorerContext): PageRestorers {
  return {};
}

/** Whether pages are gathered in batches on their way, or may go straight from memory to memory. */
export function hasBatches({ dedup, deltaCacheBytes, compression }: Transforms): boolean {
  const isPlain = compression === Compression.COMPRESSION_NONE && deltaCacheBytes === 0n;
  return !isPlain || dedup !== DedupScope.DEDUP_SCOPE_NONE;
}
