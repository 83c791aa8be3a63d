import type { BoundSocket, Server, Socket } from 'node:net';
import type { MessagePort } from 'node:worker_threads';
import type { EndpointDelta } from '../endpoint/delta.ts';
import type { ListenerOptions } from '../listener/options.ts';
import type { Decision } from '../pool/explanation.ts';
import type { PoolOptions } from '../pool/options.ts';
import type { RequestSample } from '../telemetry/request-sampler.ts';
import type { Place } from './listener-set.ts';

/** What makes a thread a worker. */
export interface WorkerStart {
  /** 0…workers−1 */
  readonly worker: number;
  readonly workers: number;
  /** This thread's row in shared memory, and how many there are; row 0 is main's. */
  readonly row: number;
  readonly rows: number;
  readonly heartbeats: SharedArrayBuffer;
  readonly chunks: readonly SharedArrayBuffer[];
  /** Signs affinity cookies. */
  readonly affinityKey: Uint8Array;
}

export interface WorkerPool {
  readonly name: string;
  readonly options: PoolOptions;
  readonly words: SharedArrayBuffer;
}

export interface WorkerListener {
  readonly options: ListenerOptions;
  readonly cells: SharedArrayBuffer;
  /** Of `ClientCounts`; null where connections are not limited per client. */
  readonly clients: SharedArrayBuffer | null;
  /** In the order of `options.routes`. */
  readonly routes: readonly SharedArrayBuffer[];
  /** What a share of its connections has instead; null for nothing. */
  readonly rehearsal: {
    readonly share: number;
    readonly options: ListenerOptions;
    readonly routes: readonly SharedArrayBuffer[];
  } | null;
}

/** The data plane's share of a document. Sent whole; a worker swaps it in between two requests. */
export interface Configuration {
  readonly pools: readonly WorkerPool[];
  readonly listeners: readonly WorkerListener[];
  /** Connections the process may hold; 0 = no ceiling. */
  readonly connections: number;
  /** Whether connections opened from now on may be read and written past Node's documented API. */
  readonly fastPath: boolean;
  readonly access: { readonly query: boolean } | null;
  /** One decision in so many is told; 0 = none. */
  readonly decisions: number;
  /** One request in so many is sampled; null for none. */
  readonly sample: number | null;
  /** Of TLS session tickets. */
  readonly ticketKeys: Uint8Array;
}

/** From main to a worker; `start` comes first. */
export type ToWorker =
  | { readonly kind: 'start'; readonly start: WorkerStart }
  | { readonly kind: 'configure'; readonly configuration: Configuration }
  /** Rows of shared memory from `used` on belong to nobody. */
  | { readonly kind: 'rows'; readonly used: number }
  | { readonly kind: 'chunk'; readonly buffer: SharedArrayBuffer }
  | { readonly kind: 'delta'; readonly delta: EndpointDelta }
  | { readonly kind: 'listen'; readonly listener: string; readonly bind: string; readonly socket: BoundSocket }
  /** Open a socket for datagrams there. */
  | {
      readonly kind: 'listen-udp';
      readonly place: Place;
      readonly at: { readonly host: string; readonly port: number };
    }
  | { readonly kind: 'logged'; readonly listener: string; readonly length: number }
  /** Give every listening socket to the thread at the other end of the port, then drain. */
  | { readonly kind: 'hand-over'; readonly port: MessagePort }
  /** Where there are several listening sockets of an address here, give one of them to the thread at the other end of the port. */
  | { readonly kind: 'share'; readonly port: MessagePort }
  /** Take the listening sockets that come over the ports; `took-over` is the answer when all have come. */
  | { readonly kind: 'take-over'; readonly ports: readonly MessagePort[] }
  /** Lend main every listening server: the thread goes on with what it has accepted. */
  | { readonly kind: 'lend' }
  /** Go on with a listening server of another thread or process. */
  | { readonly kind: 'adopt'; readonly listener: string; readonly bind: string; readonly server: Server }
  /** Serve a connection that main accepted in your place. */
  | { readonly kind: 'client'; readonly listener: string; readonly socket: Socket }
  /** `patienceMs`: how much longer than usual an idle connection is left. */
  | { readonly kind: 'drain'; readonly patienceMs?: number }
  | { readonly kind: 'cut' }
  /** Nothing is left to do: the thread may end. */
  | { readonly kind: 'end' }
  /** Test hooks: end as if by a fault, or block the loop. */
  | { readonly kind: 'die' }
  /** Calls what no terminate() interrupts. */
  | { readonly kind: 'hang' }
  | { readonly kind: 'stall'; readonly ms: number };

/** From a worker to main: rare happenings, and batches of access lines. */
export type FromWorker =
  | { readonly kind: 'configured' }
  | { readonly kind: 'listening'; readonly listener: string; readonly bind: string }
  | { readonly kind: 'listen-failed'; readonly listener: string; readonly bind: string; readonly message: string }
  | {
      readonly kind: 'ejected';
      readonly pool: string;
      readonly slot: number;
      readonly cause: string;
      readonly untilMs: number;
    }
  | { readonly kind: 'would-eject'; readonly pool: string; readonly slot: number; readonly cause: string }
  /** An endpoint came to no TLS handshake: once a minute and worker. */
  | { readonly kind: 'tls-refused'; readonly pool: string; readonly endpoint: string; readonly reason: string }
  | { readonly kind: 'decision'; readonly decision: Decision }
  | { readonly kind: 'gone'; readonly pool: string; readonly slot: number }
  | { readonly kind: 'access'; readonly listener: string; readonly batch: string; readonly lines: number }
  | { readonly kind: 'sampled'; readonly samples: readonly RequestSample[] }
  /** The other end of a hand-over has no more sockets: this thread now listens on these addresses. */
  | { readonly kind: 'took-over'; readonly places: readonly Place[] }
  | { readonly kind: 'lent'; readonly listener: string; readonly bind: string; readonly server: Server }
  | { readonly kind: 'lent-all' }
  | { readonly kind: 'drained' };
