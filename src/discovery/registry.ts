import type { Server, Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import type { OperationError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';

/** Names a service in a registry. `name` is the registry's own name for it. */
export interface ServiceRef {
  readonly name: string;
  /** Only endpoints that carry all of these. */
  readonly tags: readonly string[];
  readonly datacenter?: string;
}

/** How fit the registry says an endpoint is. Only `up` and `warning` take new work; `draining` finishes what it has; `unknown` counts as up. */
export type RegistryStatus = 'up' | 'warning' | 'down' | 'draining' | 'unknown';

/** One endpoint as its registry describes it, in the one vocabulary of all registries. */
export interface RegistryEndpoint {
  /** IPv4, IPv6 without brackets, or a name that main resolves. */
  readonly host: string;
  readonly port: number;
  /** 1 where nobody says otherwise; 0 takes no new traffic. */
  readonly weight: number;
  readonly zone: string;
  readonly version: string;
  readonly backup: boolean;
  readonly status: RegistryStatus;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  /** Changes when the process behind the address is a new one (CreateIndex and the like); '' when the registry cannot tell. */
  readonly generation: string;
}

/** Why a set may be a lie although it was delivered without an error. */
export type Suspicion = 'after-reconnect' | 'index-reset' | 'stale-server' | 'emptied';

/** Every delivery is the whole truth about a service as the registry tells it. */
export interface RegistrySet {
  readonly endpoints: readonly RegistryEndpoint[];
  /** Set when the answer came under circumstances in which registries are known to lie (registry lost and back, index gone backwards). */
  readonly suspicion: Suspicion | null;
}

/** Where a registry delivers. Errors never remove endpoints. Nothing is delivered after the subscription or the registry was closed. */
export interface RegistrySink {
  /** The very same list again says that it still holds; a registry does so at least once a minute or so while it can be asked. */
  replace(set: RegistrySet): void;
  /** The registry cannot be asked at present; what was delivered last stays. Called again only when the error changes or after a success. */
  unavailable(error: OperationError): void;
}

export interface Subscription {
  close(): void;
  /** Asks anew now rather than waits for a change; absent where the registry has nothing to ask. */
  refresh?(): void;
}

/** What a proxy or an application says of itself when it registers. */
export interface Registration {
  readonly service: string;
  readonly id: string;
  readonly host: string;
  readonly port: number;
  readonly weight: number;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  /** Heartbeat period the registry is promised, in ms. */
  readonly ttlMs: number;
}

export interface Registered {
  /** Leaves the registry; no heartbeat is sent afterwards. */
  deregister(): Promise<void>;
  /** Another process keeps it up under the same ID from now on: nothing is sent for it any more, and nothing taken back. Absent where nothing is kept up. */
  release?(): void;
}

/** A source of endpoints for many pools over shared connections. Constructing and subscribing open nothing before `start`. */
export interface Registry {
  /** Starts whatever runs (connections, an embedded server). Resolves when the registry can be used; an unreachable registry is not an error but a state. */
  start(): Promise<void>;
  subscribe(service: ServiceRef, sink: RegistrySink): Subscription;
  register?(self: Registration): Promise<Registered>;
  /** Where others reach it, for a registry that is a server itself. */
  readonly door?: RegistryDoor;
  /** Ends every subscription and leaves no timer, socket or file open. */
  close(): Promise<void>;
}

/** The listening side of a registry that is a server, for the process that takes this one's place. After `retire` either `takeBack` or `letGo` is called, once. */
export interface RegistryDoor {
  readonly bind: string;
  /** Directory of its files. */
  readonly data: string;
  /** Answers what is under way and writes everything down; the files are free when it resolves. Who connects from now on waits. */
  retire(): Promise<void>;
  /** The server that goes on listening. `onClient` gets the connections that came here meanwhile, and all that still come, unread. */
  give(onClient: (socket: Socket) => void): Server;
  /** Nobody took over: reads the files and serves again, first those who waited. Rejects when the files cannot be had. */
  takeBack(): Promise<void>;
  letGo(): void;
}

/** The process before this one, where it may have a registry's address and files. */
export interface RegistrySuccession {
  /** Resolves when nobody there serves `bind` or writes to `data` any more; with true when the server at `bind` can be had. */
  retire(bind: string, data: string): Promise<boolean>;
  /** It accepts at once: it needs its listener before the turn of the loop ends. `onClient` gets connections that came to the other process, paused. */
  take(bind: string, onClient: (socket: Socket) => void): Promise<Server>;
}

/** What a registry is made with. */
export interface RegistryContext {
  /** The registry's name in the document. */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly succession?: RegistrySuccession;
  /** Structured log line; `level` as pino's. */
  readonly log: (
    level: 'debug' | 'info' | 'warn' | 'error',
    message: string,
    fields?: Readonly<Record<string, unknown>>,
  ) => void;
}
