import type { OperationError } from '../base/errors.ts';
import type { NacosWatch } from './nacos-watch.ts';
import type { Registration } from './registry.ts';

/** What a link keeps up: it is NacosRegistry's, and outlives a change from one link to the other. */
export interface NacosWanted {
  readonly watches: Iterable<NacosWatch>;
  readonly selves: ReadonlySet<Registration>;
  readonly namespace: string;
  /** Of registrations whose service's name carries none. */
  readonly group: string;
}

export interface NacosLinkEvents {
  /** The server answers. */
  reached(): void;
  /** It does not. Called at every failed attempt. */
  lost(error: OperationError): void;
}

/** A way in which NacosRegistry speaks to the server: pushes over gRPC, or polls over HTTP. What it learns it tells the watches. */
export interface NacosLink {
  start(): void;
  /** A watch that was added to those wanted, or one that is to be asked for anew. */
  ask(watch: NacosWatch): void;
  /** A watch that is not wanted any more. */
  leave(watch: NacosWatch): void;
  /** Registers one of those wanted. Rejects when the server refuses; when it cannot be reached, goes on trying and resolves. */
  register(self: Registration): Promise<void>;
  deregister(self: Registration): Promise<void>;
  /** Another process keeps up one that is not wanted any more. */
  release(self: Registration): void;
  close(): void;
}
