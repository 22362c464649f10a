/** The fabrics by their names in a spec. */
import type { Fabric, FabricSettings } from './fabric.ts';
import { startNetnsFabric } from './netns-fabric.ts';
import { startProcessFabric } from './process-fabric.ts';

const STARTERS = {
  process: startProcessFabric,
  netns: startNetnsFabric,
} as const satisfies Record<string, (settings: FabricSettings) => Promise<Fabric>>;

export type FabricKind = keyof typeof STARTERS;

/**
 * Starts a testbed, and waits until all its hosts have registered.
 * @throws FabricUnavailableError, ChildProcessError or the signal's reason; nothing runs then.
 */
export function startFabric(kind: FabricKind, settings: FabricSettings): Promise<Fabric> {
  return STARTERS[kind](settings);
}
