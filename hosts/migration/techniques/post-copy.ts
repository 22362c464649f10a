/**
 * Post-copy (Hines and Gopalan, VEE 2009): move the devices' and the vCPUs' state, run the guest there, and
 * bring each page when it is touched, or before. Every page crosses the wire once, whatever the guest writes.
 */

import type { SourceSide } from '../source-side.ts';

export async function postCopy(source: SourceSide): Promise<void> {
  await source.switchover(() => source.sendNothing());
  await source.serveAndPush();
}
