/**
 * Who does which part of a shape: tc in the kernel, the relay in user space, or both. Pure, so that `godwit
 * doctor`, the fabrics and the hosts say the same. What nobody can do here is a problem for people, never
 * left out in silence.
 */

import type { LinkShape, NetworkShape } from '../../proto/generated/godwit/v1/network.ts';
import { isUnshaped, linksOf, UNSHAPED_LINK, unshapedNetwork } from '../../proto/network-shape.ts';
import type { KernelFeatures } from './kernel-features.ts';

export interface BackendPlan {
  /** For tc; undefined when it has nothing to do. */
  readonly tc: NetworkShape | undefined;
  /** For the relay; undefined when connections may go directly. */
  readonly relay: NetworkShape | undefined;
  /** Why the shape cannot be had here, as sentences; empty when it can. */
  readonly problems: readonly string[];
}

/** What a relay cannot do of a shape, as sentences. */
export function relayProblems(shape: NetworkShape): string[] {
  return linksOf(shape).flatMap(([name, { loss }]) =>
    loss > 0
      ? [`${name} loss is ${loss}: a relay carries streams and cannot lose packets; it needs tc with netem`]
      : [],
  );
}

/**
 * Divides a shape. Rates go to tc where the kernel can shape that direction (ingress needs IFB and a
 * redirect), and delay, jitter and loss with them where it has netem; the relay does the rest.
 *
 * @param faults whether there will be cuts, resets and the like: these need the relay in the path
 */
export function backendPlan(shape: NetworkShape, kernel: KernelFeatures, faults: boolean): BackendPlan {
  const egress = kernel.permitted && kernel.htb;
  const byTc = { egress, ingress: egress && kernel.ifb && kernel.redirect };
  const tc = mapLinks(shape, (link, direction) => {
    if (!byTc[direction]) return UNSHAPED_LINK;
    return kernel.netem ? link : { ...link, delayMs: 0, jitterMs: 0, loss: 0 };
  });
  const left = mapLinks(shape, (link, direction) => {
    if (!byTc[direction]) return link;
    return kernel.netem ? UNSHAPED_LINK : { ...link, rateBytesPerS: 0, burstBytes: 0, queueBytes: 0 };
  });
  const relay = left ?? (faults ? unshapedNetwork() : undefined);
  return { tc, relay, problems: relay === undefined ? [] : relayProblems(relay) };
}

/** The shape with each link changed, or undefined when then nothing of it is left. */
function mapLinks(
  shape: NetworkShape,
  change: (link: LinkShape, direction: 'egress' | 'ingress') => LinkShape,
): NetworkShape | undefined {
  const both = ({ egress, ingress }: Pick<NetworkShape, 'egress' | 'ingress'>) => ({
    egress: change(egress ?? UNSHAPED_LINK, 'egress'),
    ingress: change(ingress ?? UNSHAPED_LINK, 'ingress'),
  });
  const changed = {
    ...both(shape),
    peers: shape.peers.map((peer) => ({ peer: peer.peer, ...both(peer) })),
  };
  return linksOf(changed).every(([, link]) => isUnshaped(link)) ? undefined : changed;
}
