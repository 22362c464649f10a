/** What the main thread asks of a NIC's relay thread, and what that answers. Types only. */

import type { LinkFault, NetworkShape } from '../../proto/generated/godwit/v1/network.ts';

export interface RelayWorkerData {
  /** Decides the jitter. */
  readonly seed: number;
}

export type RelayQuestion =
  | { readonly kind: 'shape'; readonly shape: NetworkShape }
  | { readonly kind: 'fault'; readonly fault: LinkFault }
  | {
      readonly kind: 'expose';
      readonly localPort: number;
      readonly listenAddress: string;
      readonly peer: string;
    }
  | { readonly kind: 'dial'; readonly address: string; readonly port: number; readonly peer: string }
  | { readonly kind: 'release'; readonly port: number }
  | { readonly kind: 'stats' }
  | { readonly kind: 'close' };

export interface RelayRequest {
  readonly id: number;
  readonly question: RelayQuestion;
}

/** What a NIC carries. */
export interface NicStats {
  readonly connections: number;
  /** Handed to the receivers' kernels since the NIC stands. */
  readonly egressBytes: number;
  readonly ingressBytes: number;
  /** Read and not yet handed on. */
  readonly inFlightBytes: number;
}

/** Expose and dial answer their port, stats its stats, the others nothing. */
export interface RelayAnswer {
  readonly id: number;
  readonly port?: number;
  readonly stats?: NicStats;
  /** Why it was not done. */
  readonly problem?: string;
}
