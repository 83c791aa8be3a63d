import { Backoff } from '../../base/backoff.ts';
import { OperationError } from '../../base/errors.ts';
import type { Random } from '../../base/random.ts';
import type { ClientTls } from '../client-tls.ts';
import { type NacosBody, NacosConnection } from './nacos-connection.ts';
import type { NacosToken } from './nacos-token.ts';

/** One small request a client: what keeps a returning server from being run over is that what follows is spread. */
const RETRY_MAX_MS = 5000;

export interface NacosGrpcEvents {
  /** There is a connection, a new one: whatever was subscribed or registered has to be so again. */
  connected(): void;
  /** There is none: the one there was ended, or none of the servers could be reached. Called at each failure. */
  lost(error: OperationError): void;
  push(type: string, body: NacosBody): void;
}

export interface NacosGrpcOptions {
  /** Of the gRPC doors, tried in turn. */
  readonly origins: readonly string[];
  readonly module: 'naming' | 'config';
  readonly namespace: string;
  readonly tls: ClientTls;
  readonly token: NacosToken;
  readonly random: Random;
  readonly events: NacosGrpcEvents;
}

/** Keeps one connection to one of several Nacos 2 servers for as long as it runs. No timer and no socket before `start` and after `close`. */
export class NacosGrpc {
  readonly #options: NacosGrpcOptions;
  readonly #backoff: Backoff;
  #connection: NacosConnection | null = null;
  #timer: NodeJS.Timeout | null = null;
  #at = 0;
  /** Servers tried in vain since the last connection. */
  #failures = 0;
  readonly #closing = new AbortController();

  constructor(options: NacosGrpcOptions) {
    this.#options = options;
    this.#backoff = new Backoff(250, RETRY_MAX_MS, options.random);
  }

  get isConnected(): boolean {
    return this.#connection !== null;
  }

  start(): void {
    void this.#connect();
  }

  /** Rejects with an OperationError, also while there is no connection; a refused token is asked for anew once. */
  async request(type: string, body: NacosBody): Promise<NacosBody> {
    const { token } = this.#options;
    const send = async () => {
      const accessToken = await token.get();
      if (this.#connection === null)
        throw new OperationError('registry-unreachable', 'there is no connection to Nacos', { retryable: true });
      return this.#connection.request(type, body, accessToken === '' ? {} : { accessToken });
    };
    try {
      return await send();
    } catch (error) {
      if ((error as OperationError).code !== 'registry-denied' || (await token.get()) === '') throw error;
      token.drop();
      return send();
    }
  }

  close(): void {
    this.#closing.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#connection?.close();
    this.#connection = null;
  }

  readonly #connect = async (): Promise<void> => {
    this.#timer = null;
    const { origins, module, namespace, tls, events } = this.#options;
    const origin = origins[this.#at];
    const { signal } = this.#closing;
    let connection: NacosConnection;
    try {
      const onPush = (type: string, body: NacosBody) => events.push(type, body);
      const onEnd = (error: OperationError) => {
        this.#connection = null;
        this.#fail(error);
      };
      connection = await NacosConnection.open({ origin, module, namespace, tls, onPush, onEnd }, signal);
    } catch (error) {
      if (!signal.aborted) this.#fail(error as OperationError);
      return;
    }
    if (signal.aborted) return connection.close();
    this.#connection = connection;
    this.#failures = 0;
    this.#backoff.reset();
    events.connected();
  };

  /** The next server at once, and after one round with a growing pause. */
  #fail(error: OperationError): void {
    const { origins, events } = this.#options;
    this.#at = (this.#at + 1) % origins.length;
    this.#failures++;
    const isRoundOver = this.#failures % origins.length === 0;
    this.#timer = setTimeout(this.#connect, isRoundOver ? this.#backoff.next() : 0);
    events.lost(error);
  }
}
