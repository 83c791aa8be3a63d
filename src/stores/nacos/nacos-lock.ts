import { setTimeout } from 'node:timers/promises';
import { OperationError } from '../../base/errors.ts';
import { type Random, randomIndex } from '../../base/random.ts';
import type { NacosConfig } from './nacos-config.ts';
import type { NacosBody } from './nacos-connection.ts';

/** Who finds another one in the lock goes out of it and comes again within this time. */
const PAUSE_MS = 40;

/** Whoever holds the lock does so for a handful of requests. */
const PATIENCE_MS = 5000;

export interface NacosLockOptions {
  readonly config: NacosConfig;
  readonly namespace: string;
  readonly group: string;
  /** The name of a service that is nothing but this lock. */
  readonly name: string;
  readonly random: Random;
}

/**
 * One holder at a time among all who use the same name, on a server whose writes cannot be made to depend on what is there (r-nacos). Who wants the lock registers an ephemeral
 * instance of a service, and holds it when it then finds nobody else there: of two who come together at most one finds itself alone. An instance goes with its
 * connection, so that a holder who dies leaves nothing. It holds on one server, which answers a query with every registration before it; in a cluster of r-nacos
 * the others are told a moment later.
 */
export class NacosLock {
  readonly #options: NacosLockOptions;
  readonly #instance: NacosBody;
  /** Those of this process come one after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: NacosLockOptions) {
    this.#options = options;
    const byte = () => randomIndex(options.random, 256);
    // An address that nobody has and no two holders share.
    const ip = `127.${byte()}.${byte()}.${byte()}`;
    const port = 1 + randomIndex(options.random, 65_535);
    const rest = { weight: 1, enabled: true, healthy: true, ephemeral: true, clusterName: 'DEFAULT', metadata: {} };
    this.#instance = { ip, port, ...rest };
  }

  /** Rejects as `act` does, or with an OperationError when the lock is not to be had. */
  hold<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(() => this.#hold(act));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #hold<T>(act: () => Promise<T>): Promise<T> {
    const { config, random } = this.#options;
    for (let waitedMs = 0; waitedMs < PATIENCE_MS; ) {
      const { connection } = config;
      await this.#put('registerInstance');
      try {
        // What was registered on a connection that is gone is gone, too.
        if ((await this.#isAlone()) && config.connection === connection) return await act();
      } finally {
        await this.#put('deregisterInstance').catch(() => {});
      }
      const pauseMs = random() * PAUSE_MS;
      waitedMs += pauseMs + 1;
      await setTimeout(pauseMs);
    }
    throw new OperationError('registry-error', 'others write all the time', { retryable: true });
  }

  async #isAlone(): Promise<boolean> {
    const { serviceInfo } = await this.#options.config.request('ServiceQueryRequest', {
      ...this.#names,
      cluster: '',
      healthyOnly: false,
      udpPort: 0,
    });
    const { hosts } = (serviceInfo ?? {}) as { hosts?: { ip: string; port: number }[] };
    const { ip, port } = this.#instance;
    return hosts?.length === 1 && hosts[0].ip === ip && hosts[0].port === port;
  }

  async #put(type: 'registerInstance' | 'deregisterInstance'): Promise<void> {
    await this.#options.config.request('InstanceRequest', { ...this.#names, type, instance: this.#instance });
  }

  get #names(): NacosBody {
    const { namespace, group: groupName, name: serviceName } = this.#options;
    return { namespace, groupName, serviceName };
  }
}
