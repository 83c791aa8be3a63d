import type { RegistryEndpoint } from '../discovery/registry.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';

/** What an operator asked for by the admin API; survives registry pushes and reloads. */
export interface AdminOverride {
  state: 'ready' | 'drain' | 'maintenance';
  /** null = the registry's. */
  weight: number | null;
}

/** What is set after a change. */
export function changed(before: AdminOverride | undefined, change: Partial<AdminOverride>): AdminOverride {
  return { state: 'ready', weight: null, ...before, ...change };
}

/** One endpoint of a pool as main knows it. */
export interface Member {
  readonly endpoint: Endpoint;
  spec: RegistryEndpoint;
  /** Why it is down, in words of whoever took it out; '' when it is not. */
  downReason: string;
  /** Fit again, but held down for flapping. */
  isHeld: boolean;
}

/** Something rare that happened to an endpoint. */
export type MemberEvent =
  | { readonly kind: 'restored' | 'fit'; readonly endpoint: string }
  | { readonly kind: 'unfit'; readonly endpoint: string; readonly reason: string }
  | { readonly kind: 'ejected'; readonly endpoint: string; readonly cause: string; readonly forMs: number }
  | { readonly kind: 'would-eject'; readonly endpoint: string; readonly cause: string }
  | { readonly kind: 'flapping'; readonly endpoint: string; readonly forMs: number };
