import type { EtcdClient } from '../stores/etcd/etcd-client.ts';
import { Heartbeat } from './heartbeat.ts';
import type { Registered, RegistryContext } from './registry.ts';

/** The key a registration consists of. */
export interface OwnKey {
  readonly key: string;
  readonly value: Buffer;
  readonly ttlMs: number;
}

/**
 * Keeps one key of ours under a lease: renews the lease three times in its life, looks whether the key is there, and begins anew when either is gone. Made by EtcdRegistry.register.
 */
export class EtcdRegistration implements Registered {
  readonly #own: OwnKey;
  readonly #client: EtcdClient;
  readonly #heartbeat: Heartbeat;
  readonly #onLeave: () => void;
  #lease: string | null = null;
  #wasPut = false;

  constructor(own: OwnKey, client: EtcdClient, context: RegistryContext, onLeave: () => void) {
    this.#own = own;
    this.#client = client;
    this.#onLeave = onLeave;
    this.#heartbeat = new Heartbeat({
      beat: async () => {
        if (!(await this.#isKept()) && !this.#heartbeat.isStopped) await this.#put();
      },
      intervalMs: own.ttlMs / 3,
      retryMaxMs: Math.max(1000, own.ttlMs / 3),
      context,
      fields: { key: own.key },
    });
  }

  /** Rejects when etcd refuses; when it cannot be reached, goes on trying and resolves. */
  start(): Promise<void> {
    return this.#heartbeat.start();
  }

  /** A key that another process has put since stays: it is of that one's lease. */
  async deregister(): Promise<void> {
    this.release();
    await this.#heartbeat.stop();
    if (this.#lease !== null) await this.#client.revokeLease(this.#lease);
  }

  /** Renews no more; the key goes when its lease does. */
  release(): void {
    void this.#heartbeat.stop();
    this.#onLeave();
  }

  /** Whether the key is there: by our lease, which is renewed, or put since by another process. */
  async #isKept(): Promise<boolean> {
    if (!this.#wasPut) return false;
    const isAlive = await this.#client.keepLeaseAlive(this.#lease!);
    const [record] = (await this.#client.range(this.#own.key, { keysOnly: true })).records;
    return record !== undefined && (isAlive || record.lease !== this.#lease);
  }

  async #put(): Promise<void> {
    const { key, value, ttlMs } = this.#own;
    this.#lease = await this.#client.grantLease(Math.max(1, Math.ceil(ttlMs / 1000)));
    await this.#client.put(key, value, this.#lease);
    this.#wasPut = true;
    // It was told to leave while it was on its way.
    if (!this.#heartbeat.isStopped) return;
    const lease = this.#lease;
    this.#lease = null;
    await this.#client.revokeLease(lease);
  }
}
