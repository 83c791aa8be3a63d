import type { Endpoint } from '../endpoint/endpoint.ts';
import type { PoolWords } from '../endpoint/pool-words.ts';
import type { EjectionState } from '../pool/ejection-state.ts';
import type { ListenerCells } from '../proxy/listener-cells.ts';
import type { RouteCells } from '../routing/route-cells.ts';

/**
 * What telemetry and the admin API read of the running program; the composition root implements it on main. Read whole, often (once a
 * second and at every scrape) and never written. The arrays are those in force when they are read: a reader that pauses between two
 * of them may see an endpoint that has left in the meantime, whose counters are then zero.
 */
export interface LiveState {
  /** Clock ms at which the program started. */
  readonly startedAtMs: number;
  /** Content hash of the document in force. */
  readonly configVersion: string;
  /** Documents accepted since the start, the first one included. */
  readonly configVersionNumber: number;
  /** Whether the listeners serve; false while starting and while draining. */
  readonly ready: boolean;
  /** Why it is not ready, in a few words; empty when it is. */
  readonly readyReason: string;
  readonly listeners: readonly LiveListener[];
  readonly routes: readonly LiveRoute[];
  readonly pools: readonly LivePool[];
  readonly registries: readonly LiveRegistry[];
  readonly workers: readonly LiveWorker[];
  /** The document in force; secrets are masked already. */
  readonly document: unknown;
}

export interface LiveListener {
  readonly name: string;
  /** `address:port`, as bound. */
  readonly addresses: readonly string[];
  readonly protocol: string;
  readonly cells: ListenerCells;
}

/** A route of one listener. Two routes of a listener never share a name. */
export interface LiveRoute {
  readonly listener: string;
  readonly route: string;
  readonly pool: string;
  readonly cells: RouteCells;
}

export interface LivePool {
  readonly name: string;
  /** The scheduler's kind. */
  readonly scheduler: string;
  readonly words: PoolWords;
  /** Too few endpoints are available: the pool uses all that are not drained. */
  readonly panic: boolean;
  /** How ejection stands; null when it is off. */
  readonly ejection: EjectionState | null;
  readonly endpoints: readonly LiveEndpoint[];
}

export interface LiveEndpoint {
  /** Main's view of it (row 0). */
  readonly endpoint: Endpoint;
  /** What the admin API asked for. */
  readonly adminState: AdminState;
  /** Where it comes from: a registry's name, or `document`. */
  readonly source: string;
  /** The last reason for being down, for a person to read. */
  readonly downReason: string | null;
}

export type AdminState = 'ready' | 'drain' | 'maintenance';

export interface LiveRegistry {
  readonly name: string;
  readonly kind: string;
  readonly up: boolean;
  readonly lastError: string | null;
  readonly services: readonly LiveService[];
}

/** What one pool takes from a registry. */
export interface LiveService {
  readonly pool: string;
  readonly service: string;
  /** `synced`, `waiting`, `stale` or the registry's own word. */
  readonly state: string;
  /** Time since the last good set; NaN when there was none. */
  readonly ageMs: number;
  readonly endpoints: number;
  /** The set in use was read from disk, because the registry has not answered since the start. */
  readonly fromDisk: boolean;
  /** Why a delivered set is not in use: it looks like a lie; null when it is in use. */
  readonly heldReason: string | null;
}

export interface LiveWorker {
  /** 0…workers−1; a replacement keeps the number. */
  readonly id: number;
  readonly state: 'up' | 'starting' | 'stalled' | 'draining';
  /** How often this worker was replaced because it died or hung. */
  readonly restarts: number;
  /** Worst lag of its event loop within the last second. */
  readonly lagMs: number;
}
