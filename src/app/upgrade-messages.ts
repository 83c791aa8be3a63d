import type { EndpointChange } from '../admin/control.ts';
import type { ConfigProblem } from '../base/errors.ts';
import type { AdminOverride } from '../pool/member.ts';
import type { RememberedEndpoint } from '../pool/remembered.ts';
import type { Reserved } from './addresses.ts';

/** Raised when a message changes its meaning; a process that speaks another number is not taken for a successor. */
export const UPGRADE_PROTOCOL = 1;
/** Set to '1' in the environment of a process that is to take over from the one that starts it. */
export const UPGRADE_VARIABLE = 'EVENKEEL_UPGRADE';

/** Attempts in flight by pool and endpoint; one that has none is left out. */
export type ActiveCounts = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** What the old process knows and no file says. Plain JSON: both processes may be of different versions. */
export interface Inheritance {
  /** Addresses of its listeners, by what the document calls them. */
  readonly addresses: Readonly<Record<string, Reserved>>;
  /** `admin.bind` as its document says it; null when it has none. */
  readonly admin: string | null;
  readonly health: Readonly<Record<string, readonly RememberedEndpoint[]>>;
  /** What operators set by the admin API, by pool and endpoint. */
  readonly overrides: Readonly<Record<string, Readonly<Record<string, AdminOverride>>>>;
  /** Of TLS session tickets, in base64. */
  readonly ticketKeys: string;
}

/** From the new process to the old one, which answers the first four in the order they come. */
export type ToPredecessor =
  | { readonly kind: 'hello'; readonly protocol: number }
  /** Stop answering at this address, write everything down, and let go of the files. */
  | { readonly kind: 'retire-registry'; readonly bind: string; readonly data: string }
  | { readonly kind: 'take-registry'; readonly bind: string }
  | { readonly kind: 'take-listeners'; readonly places: readonly string[] }
  | { readonly kind: 'take-admin' }
  /** An operator asked the new one for this. `number` counts these messages. */
  | {
      readonly kind: 'endpoint';
      readonly pool: string;
      readonly endpoint: string;
      readonly change: EndpointChange;
      readonly number: number;
    }
  /** It serves: the old one drains. The channel stays open until it has ended. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly message: string; readonly problems: readonly ConfigProblem[] };

/** From the old process to the new one; `*` marks those that a server or a socket comes with. */
export type ToSuccessor =
  | { readonly kind: 'inheritance'; readonly inheritance: Inheritance }
  /** `isThere` is false when it has no such registry: the address and the files are free. */
  | { readonly kind: 'registry-retired'; readonly isThere: boolean }
  /** * the server that listens there. */
  | { readonly kind: 'registry'; readonly bind: string }
  /** * a connection that came to the old process on its way out. */
  | { readonly kind: 'registry-client'; readonly bind: string }
  /** * one of the servers of an address. */
  | { readonly kind: 'listener'; readonly place: string }
  | { readonly kind: 'all-listeners' }
  /** An operator asked the old one for this after the inheritance was told. */
  | { readonly kind: 'endpoint'; readonly pool: string; readonly endpoint: string; readonly change: EndpointChange }
  /** * the server that listens there. */
  | { readonly kind: 'admin' }
  /** What is under way while the old one drains, again and again; `number` is that of the last change it has carried out. */
  | { readonly kind: 'active'; readonly active: ActiveCounts; readonly number: number };
