import { Backoff } from '../base/backoff.ts';
import type { OperationError } from '../base/errors.ts';
import type { NodeAccess } from '../stores/zookeeper/messages.ts';
import type { ZookeeperSession } from '../stores/zookeeper/zookeeper-session.ts';
import type { Registered, RegistryContext } from './registry.ts';

/** The node a registration consists of. */
export interface OwnNode {
  readonly path: string;
  readonly data: Buffer;
  readonly access: NodeAccess;
}

/**
 * Keeps one ephemeral node of ours: creates it, again when the session it belonged to is over, and when somebody removed it. Made by ZookeeperRegistry.register. The session's
 * pings are its heartbeat: after our death the node goes when the session's time is over.
 */
export class ZookeeperRegistration implements Registered {
  readonly #node: OwnNode;
  readonly #session: ZookeeperSession;
  readonly #context: RegistryContext;
  readonly #backoff: Backoff;
  readonly #onLeave: () => void;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;
  #isPutting = false;
  #failure = '';

  constructor(node: OwnNode, session: ZookeeperSession, context: RegistryContext, onLeave: () => void) {
    this.#node = node;
    this.#session = session;
    this.#context = context;
    this.#onLeave = onLeave;
    this.#backoff = new Backoff(250, 10_000, context.random);
  }

  /** Rejects when ZooKeeper refuses; when it cannot be reached, goes on trying and resolves. */
  async start(): Promise<void> {
    try {
      if (this.#session.isConnected) await this.#put();
    } catch (error) {
      const failure = error as OperationError;
      if (!failure.retryable) throw failure;
      this.#complain(failure);
    }
  }

  /** There is a connection: sees to the node. */
  connected(): void {
    this.#schedule(0);
  }

  async deregister(): Promise<void> {
    this.stop();
    this.#onLeave();
    const stat = await this.#session.exists(this.#node.path);
    // Another session's node is not ours to remove.
    if (stat !== null && stat.ephemeralOwner === this.#session.id) await this.#session.delete(this.#node.path);
  }

  /** Sees to the node no more; it stays until the session ends. */
  stop(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#session.unwatch(this.#node.path, this.#onChange);
  }

  readonly #onChange = (): void => this.#schedule(0);

  #schedule(ms: number): void {
    if (this.#closed) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#see, ms);
  }

  readonly #see = async (): Promise<void> => {
    this.#timer = null;
    if (this.#isPutting || !this.#session.isConnected) return;
    this.#isPutting = true;
    try {
      await this.#put();
      this.#failure = '';
      this.#backoff.reset();
    } catch (error) {
      this.#complain(error as OperationError);
      this.#schedule(this.#backoff.next());
    } finally {
      this.#isPutting = false;
    }
  };

  async #put(): Promise<void> {
    const { path, data, access } = this.#node;
    const stat = await this.#session.exists(path, this.#onChange);
    if (this.#closed || (stat !== null && stat.ephemeralOwner === this.#session.id)) return;
    // What an earlier session of ours left would go when that is over, and take us out then.
    if (stat !== null) await this.#session.delete(path);
    else await this.#session.ensure(path.slice(0, path.lastIndexOf('/')));
    await this.#session.create(path, data, { isEphemeral: true, access });
    // The watch of before has told of our own doing: this one tells when somebody removes the node.
    await this.#session.exists(path, this.#onChange);
  }

  #complain(error: OperationError): void {
    if (this.#closed || error.message === this.#failure) return;
    this.#failure = error.message;
    const { path } = this.#node;
    this.#context.log('warn', 'the registration is not kept up; trying again', { path, error: error.message });
  }
}
