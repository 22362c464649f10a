/** The stages of a migration's transforms at the source, and what restores their pages at the destination. */

import { Compression, DedupScope, type Transforms } from '../../proto/generated/godwit/v1/migration.ts';
import { dedupScopeName } from '../../proto/transforms.ts';
import { PageTable } from '../guest/page-table.ts';
import { pageCountOf, type SharedGuest } from '../guest/shared-guest.ts';
import type { ReceivedMemory } from '../migration/received-memory.ts';
import { channelOf, RunKind } from '../migration/wire.ts';
import { CopyRestorer } from './copy-restorer.ts';
import { Dedup } from './dedup.ts';
import { Delta } from './delta.ts';
import { DeltaRestorer } from './delta-restorer.ts';
import type { PageRestorer, PageRestorers } from './page-restorer.ts';
import { SentContents } from './sent-contents.ts';
import type { TransformStage } from './stage.ts';

/** What stages are made of. */
export interface StageContext {
  readonly transforms: Transforms;
  readonly shared: SharedGuest;
  readonly channelCount: number;
  /**
   * Of SentContents: what the gang has sent, and what the destination offers; as far as the scope of dedup has
   * them.
   */
  readonly gang?: SharedArrayBuffer | undefined;
  readonly offered?: SharedArrayBuffer | undefined;
}

export interface RestorerContext {
  readonly transforms: Transforms;
  readonly received: ReceivedMemory;
  /** What takes contents from other guests, when that was asked for. */
  readonly digests?: PageRestorer | undefined;
}

/** In the order in which batches pass them. */
export function stagesOf({
  transforms,
  shared,
  channelCount,
  gang,
  offered,
}: StageContext): TransformStage[] {
  const pageCount = pageCountOf(shared.spec);
  const stages: TransformStage[] = [];
  const scope = dedupScopeName(transforms.dedup) ?? 'none';
  if (scope !== 'none') {
    const dedup = new Dedup({
      scope,
      memory: shared.memory,
      pageTable: new PageTable(shared.pageTable, pageCount),
      channelOf: (page) => channelOf(page, channelCount),
      gang: gang && new SentContents(gang),
      offered: offered && new SentContents(offered),
    });
    stages.push(dedup);
  }
  const cacheBytes = Number(transforms.deltaCacheBytes);
  if (cacheBytes > 0) stages.push(new Delta(cacheBytes, pageCount));
  return stages;
}

export function restorersOf({ transforms, received, digests }: RestorerContext): PageRestorers {
  const hasDedup = transforms.dedup !== DedupScope.DEDUP_SCOPE_NONE;
  const hasDelta = transforms.deltaCacheBytes > 0n;
  return {
    ...(hasDedup && { [RunKind.COPY]: new CopyRestorer(received) }),
    ...(hasDelta && { [RunKind.DELTA]: new DeltaRestorer(received) }),
    ...(digests && { [RunKind.DIGEST]: digests }),
  };
}

/** Whether pages are gathered in batches on their way, or may go straight from memory to memory. */
export function hasBatches({ dedup, deltaCacheBytes, compression }: Transforms): boolean {
  const isPlain = compression === Compression.COMPRESSION_NONE && deltaCacheBytes === 0n;
  return !isPlain || dedup !== DedupScope.DEDUP_SCOPE_NONE;
}
