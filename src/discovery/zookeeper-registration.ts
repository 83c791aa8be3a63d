import type { NodeAccess } from '../stores/zookeeper/messages.ts';
import type { ZookeeperSession } from '../stores/zookeeper/zookeeper-session.ts';
import { Heartbeat } from './heartbeat.ts';
import type { Registered, RegistryContext } from './registry.ts';

/** The node a registration consists of. */
export interface OwnNode {
  readonly path: string;
  readonly data: Buffer;
  readonly access: NodeAccess;
}

/** Failures are tried again at least this often. */
const RETRY_MAX_MS = 10_000;

/**
 * Keeps one ephemeral node of ours: creates it, again when the session it belonged to is over, and when somebody removed it. Made by ZookeeperRegistry.register. The session's
 * pings are its heartbeat: after our death the node goes when the session's time is over. A node that another process has put in the place of ours is left to it.
 */
export class ZookeeperRegistration implements Registered {
  readonly #node: OwnNode;
  readonly #session: ZookeeperSession;
  readonly #heartbeat: Heartbeat;
  readonly #onLeave: () => void;
  /** Sessions of ours that the node has belonged to. */
  readonly #owners = new Set<bigint>();

  constructor(node: OwnNode, session: ZookeeperSession, context: RegistryContext, onLeave: () => void) {
    this.#node = node;
    this.#session = session;
    this.#onLeave = onLeave;
    this.#heartbeat = new Heartbeat({
      beat: () => this.#see(),
      intervalMs: Number.POSITIVE_INFINITY,
      retryMaxMs: RETRY_MAX_MS,
      context,
      fields: { path: node.path },
    });
  }

  /** Rejects when ZooKeeper refuses; when it cannot be reached, goes on trying and resolves. */
  start(): Promise<void> {
    return this.#heartbeat.start();
  }

  /** There is a connection: sees to the node. */
  connected(): void {
    this.#heartbeat.soon();
  }

  async deregister(): Promise<void> {
    this.release();
    await this.#heartbeat.stop();
    const stat = await this.#session.exists(this.#node.path);
    // Another session's node is not ours to remove.
    if (stat !== null && stat.ephemeralOwner === this.#session.id) await this.#session.delete(this.#node.path);
  }

  /** Sees to the node no more; it stays until the session ends. */
  release(): void {
    void this.#heartbeat.stop();
    this.#session.unwatch(this.#node.path, this.#onChange);
    this.#onLeave();
  }

  readonly #onChange = (): void => this.#heartbeat.soon();

  /** Our own doing is told to the watch, too, so that it is left again by another look. */
  async #see(): Promise<void> {
    const { path, data, access } = this.#node;
    if (!this.#session.isConnected) return;
    const { id } = this.#session;
    const stat = await this.#session.exists(path, this.#onChange);
    if (this.#heartbeat.isStopped || stat?.ephemeralOwner === id) return;
    const isSucceeded = stat !== null && this.#owners.size > 0 && !this.#owners.has(stat.ephemeralOwner);
    if (isSucceeded) return;
    const how = { isEphemeral: true, access };
    if (stat === null) await this.#session.ensure(path.slice(0, path.lastIndexOf('/')));
    if (this.#heartbeat.isStopped) return;
    // What is there goes with an earlier session, ours or that of the process before us, and would take us out then.
    const isOurs = await (stat === null
      ? this.#session.create(path, data, how)
      : this.#session.replace(path, data, how));
    if (isOurs) this.#owners.add(id);
  }
}
