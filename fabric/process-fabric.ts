/**
 * The fabric that needs nothing: a coordinator and N hosts as processes of this machine. They talk over
 * loopback, each on ports that the system gives.
 */
import type { Fabric, FabricSettings } from './fabric.ts';
import { type Ground, startLocalFabric } from './local-fabric.ts';

/**
 * Starts a coordinator and its hosts, and waits until all have registered.
 * @throws ChildProcessError, or the signal's reason; whatever had been started has ended then.
 */
export function startProcessFabric(settings: FabricSettings): Promise<Fabric> {
  const loopback = ['--listen', '127.0.0.1:0', '--data-listen', '127.0.0.1'];
  const ground: Ground = {
    coordinator: { prefix: [], args: ['--listen', settings.listen ?? '127.0.0.1:0'] },
    clientAddress: undefined,
    client: { prefix: [], address: '127.0.0.1', guestAddresses: undefined },
    host: () => ({ prefix: [], args: loopback }),
    close: () => Promise.resolve(),
  };
  return startLocalFabric(settings, ground);
}
