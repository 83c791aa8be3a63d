import { Backoff } from '../base/backoff.ts';
import type { OperationError } from '../base/errors.ts';
import type { EtcdClient } from '../stores/etcd/etcd-client.ts';
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
  readonly #context: RegistryContext;
  readonly #backoff: Backoff;
  readonly #onLeave: () => void;
  #lease: string | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;
  #failure = '';

  constructor(own: OwnKey, client: EtcdClient, context: RegistryContext, onLeave: () => void) {
    this.#own = own;
    this.#client = client;
    this.#context = context;
    this.#onLeave = onLeave;
    this.#backoff = new Backoff(250, Math.max(1000, own.ttlMs / 3), context.random);
  }

  /** Rejects when etcd refuses; when it cannot be reached, goes on trying and resolves. */
  async start(): Promise<void> {
    try {
      await this.#put();
      this.#schedule(this.#own.ttlMs / 3);
    } catch (error) {
      const failure = error as OperationError;
      if (!failure.retryable) throw failure;
      this.#complain(failure);
      this.#schedule(this.#backoff.next());
    }
  }

  async deregister(): Promise<void> {
    this.stop();
    this.#onLeave();
    if (this.#lease !== null) await this.#client.revokeLease(this.#lease);
  }

  /** Renews no more; the key goes when its lease does. */
  stop(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #schedule(ms: number): void {
    if (!this.#closed) this.#timer = setTimeout(this.#beat, ms);
  }

  readonly #beat = async (): Promise<void> => {
    try {
      if (!(await this.#isKept())) await this.#put();
      this.#failure = '';
      this.#backoff.reset();
      this.#schedule(this.#own.ttlMs / 3);
    } catch (error) {
      this.#complain(error as OperationError);
      this.#schedule(this.#backoff.next());
    }
  };

  async #isKept(): Promise<boolean> {
    if (this.#lease === null || !(await this.#client.keepLeaseAlive(this.#lease))) return false;
    const { records } = await this.#client.range(this.#own.key, { keysOnly: true });
    return records.length > 0;
  }

  async #put(): Promise<void> {
    const { key, value, ttlMs } = this.#own;
    this.#lease = await this.#client.grantLease(Math.max(1, Math.ceil(ttlMs / 1000)));
    await this.#client.put(key, value, this.#lease);
    // It was told to leave while it was on its way.
    if (this.#closed) await this.#client.revokeLease(this.#lease);
  }

  #complain(error: OperationError): void {
    if (this.#closed || error.message === this.#failure) return;
    this.#failure = error.message;
    const { key } = this.#own;
    this.#context.log('warn', 'the registration is not kept up; trying again', { key, error: error.message });
  }
}
