import { setTimeout } from 'node:timers/promises';
import type { OperationError } from '../../base/errors.ts';
import type { NacosBody } from './nacos-connection.ts';
import { NacosGrpc, type NacosGrpcOptions } from './nacos-grpc.ts';

/** A server that is writing its copy refuses to read from it for that moment. */
const MOMENT_MS = 30;
const MOMENTS = 10;

/** One config as Nacos tells it. */
export interface NacosItem {
  readonly content: string;
  /** Of the content, in hex. */
  readonly md5: string;
}

export interface NacosConfigEvents {
  /** There is a connection, a new one. */
  connected(): void;
  /** There is none. Called at each failure. */
  lost(error: OperationError): void;
}

export interface NacosConfigOptions extends Omit<NacosGrpcOptions, 'module' | 'events'> {
  readonly group: string;
  readonly events: NacosConfigEvents;
}

/**
 * The configs of one namespace and group of Nacos 2 or later, over its gRPC: reads, writes with check-and-set, and pushes of what changed. Used by what keeps
 * documents in Nacos; opens nothing before `start`. Every request rejects with an OperationError, at once while there is no connection.
 */
export class NacosConfig {
  readonly #grpc: NacosGrpc;
  readonly #names: { readonly group: string; readonly tenant: string };
  readonly #wakers = new Map<string, Set<() => void>>();
  #connections = 0;

  constructor({ group, events, ...options }: NacosConfigOptions) {
    // Until 3.0 the ID of the namespace that is called "public" is empty, and later servers take that for it.
    this.#names = { group, tenant: options.namespace === 'public' ? '' : options.namespace };
    this.#grpc = new NacosGrpc({
      ...options,
      module: 'config',
      events: {
        connected: () => {
          this.#connections++;
          events.connected();
        },
        lost: (error) => {
          for (const dataId of [...this.#wakers.keys()]) this.#wake(dataId);
          events.lost(error);
        },
        push: (type, { dataId, group: changed }) => {
          if (type === 'ConfigChangeNotifyRequest' && changed === group) this.#wake(String(dataId));
        },
      },
    });
  }

  get isConnected(): boolean {
    return this.#grpc.isConnected;
  }

  /** Counts connections: what was asked on an earlier one may be forgotten. */
  get connection(): number {
    return this.#connections;
  }

  start(): void {
    this.#grpc.start();
  }

  close(): void {
    this.#wakers.clear();
    this.#grpc.close();
  }

  /** Null where there is none. A server answers from a copy that follows what is written, at some distance. */
  async query(dataId: string): Promise<NacosItem | null> {
    for (let asked = 1; ; asked++) {
      try {
        const { content, md5 } = await this.#ask('ConfigQueryRequest', { dataId });
        return { content: String(content ?? ''), md5: String(md5) };
      } catch (error) {
        const { code, message } = error as OperationError;
        if (code === 'registry-unknown') return null;
        if (asked === MOMENTS || !/being modified/.test(message)) throw error;
      }
      await setTimeout(MOMENT_MS);
    }
  }

  /**
   * Writes. With `casMd5`, only over what has that MD5: false then says that it has another. Nacos compares with what it keeps and not with the copy it reads from, and
   * writes without a look where nothing is; r-nacos writes always.
   */
  async publish(dataId: string, content: string, casMd5?: string): Promise<boolean> {
    try {
      await this.#ask('ConfigPublishRequest', { dataId, content, casMd5, additionMap: { type: 'text' } });
      return true;
    } catch (error) {
      const { code, message } = error as OperationError;
      if (casMd5 !== undefined && code === 'registry-error' && /cas publish fail/i.test(message)) return false;
      throw error;
    }
  }

  /** Removing what is not there is no error. */
  async remove(dataId: string): Promise<void> {
    await this.#ask('ConfigRemoveRequest', { dataId });
  }

  /** Whether it has another MD5 by now ('': whether there is one). From now on, on this connection, changes are told to those who `subscribe`. */
  async listen(dataId: string, md5: string): Promise<boolean> {
    const { changedConfigs } = await this.#ask('ConfigBatchListenRequest', {
      listen: true,
      configListenContexts: [{ ...this.#names, dataId, md5 }],
    });
    return Array.isArray(changedConfigs) && changedConfigs.length > 0;
  }

  /** `wake` is called when it may have changed: at a push, and when the connection is lost. */
  subscribe(dataId: string, wake: () => void): { close(): void } {
    const wakers = this.#wakers.get(dataId) ?? new Set();
    this.#wakers.set(dataId, wakers.add(wake));
    return {
      close: () => {
        wakers.delete(wake);
        if (wakers.size === 0 && this.#wakers.get(dataId) === wakers) this.#wakers.delete(dataId);
      },
    };
  }

  /** For the parts of Nacos that are no configs. */
  request(type: string, body: NacosBody): Promise<NacosBody> {
    return this.#grpc.request(type, body);
  }

  #ask(type: string, body: NacosBody): Promise<NacosBody> {
    return this.#grpc.request(type, { ...this.#names, ...body });
  }

  #wake(dataId: string): void {
    for (const wake of [...(this.#wakers.get(dataId) ?? [])]) wake();
  }
}
