import { type RawClient, type RawClientOptions, type RawResponse, rawClient, request } from './raw-client.ts';

export interface LoadOptions extends RawClientOptions {
  readonly connections?: number;
  readonly method?: string;
  readonly target?: string | (() => string);
  readonly lines?: readonly string[];
  readonly body?: string;
  /** Pause between a response and the next request of a connection. */
  readonly pauseMs?: number;
  /** Whether a client that was told to close opens another connection; default true. */
  readonly reconnects?: boolean;
  /** Opens a connection, where plain text is not meant. */
  readonly connect?: () => Promise<RawClient>;
  /** Called with every response. */
  readonly onResponse?: (response: RawResponse) => void;
}

/** Clients that ask again and again. Whoever starts a load stops it. */
export interface Load extends AsyncDisposable {
  /** Responses by status. */
  readonly statuses: ReadonlyMap<number, number>;
  /** Responses of any status. */
  readonly answered: number;
  /** One line for each request that was sent, on an open connection, and got no whole response. */
  readonly lost: readonly string[];
  /** Connections that could not be opened. */
  readonly refused: number;
  /** Lets each client finish its request; resolves when all have. */
  stop(): Promise<void>;
}

/**
 * Keeps `connections` keep-alive clients busy. A client opens a new connection when it is told to (`connection: close`) or when it finds its
 * own ended before it sends: neither is a loss. A connection that ends after a request was written is.
 */
export function startLoad(port: number, options: LoadOptions = {}): Load {
  const { connections = 8, pauseMs = 1 } = options;
  const statuses = new Map<number, number>();
  const lost: string[] = [];
  let answered = 0;
  let refused = 0;
  let stopping = false;
  /** Clients that were told to close and have not gone yet. */
  let left = 0;

  const run = async () => {
    let client: RawClient | null = null;
    while (!stopping) {
      if (client === null || client.over !== null) {
        client?.socket.destroy();
        client = await (options.connect?.() ?? rawClient(port, options)).catch(() => null);
        if (client === null) {
          refused++;
          await pause(20);
          continue;
        }
      }
      client = await one(client);
      if (left > 0) {
        left--;
        return;
      }
      await pause(pauseMs);
    }
    client?.socket.destroy();
  };

  /** One request; null when the connection is used up. */
  const one = async (client: RawClient): Promise<RawClient | null> => {
    const { method = 'GET', target = '/', lines = [], body = '' } = options;
    const path = typeof target === 'string' ? target : target();
    client.write(request(method, path, lines, body));
    try {
      const response = await client.response({ isHead: method === 'HEAD' });
      answered++;
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
      options.onResponse?.(response);
      if (response.fields.get('connection') !== 'close') return client;
      if (options.reconnects === false) left++;
    } catch (error) {
      lost.push(`${path}: ${error instanceof Error ? error.message : error}`);
    }
    client.socket.destroy();
    return null;
  };

  const running = Promise.all(Array.from({ length: connections }, run));
  const stop = async () => {
    stopping = true;
    await running;
  };
  return {
    statuses,
    lost,
    get answered() {
      return answered;
    },
    get refused() {
      return refused;
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => (ms === 0 ? setImmediate(resolve) : setTimeout(resolve, ms)));
}
