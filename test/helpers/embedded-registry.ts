import { type Clock, systemClock } from '../../src/base/clock.ts';
import { seededRandom } from '../../src/base/random.ts';
import { RegistryServer, type RegistryServerOptions } from '../../src/discovery/embedded/server.ts';

/** An embedded registry of a test's own, on a free port of loopback. Whoever starts one closes it. */
export interface EmbeddedRegistry extends AsyncDisposable {
  /** http://127.0.0.1:port */
  readonly address: string;
  /** What it logged: `warn message {…}`. */
  readonly log: readonly string[];
  /** A request with a JSON (or raw) body; `json` is undefined where the answer is text. */
  ask(method: string, path: string, body?: unknown): Promise<RegistryReply>;
  close(): Promise<void>;
}

export interface RegistryReply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test knows what it asked for
  readonly json: any;
  /** X-Consul-Index; NaN where there is none. */
  readonly index: number;
}

export async function startRegistry(
  options: Partial<RegistryServerOptions> & { clock?: Clock } = {},
): Promise<EmbeddedRegistry> {
  const log: string[] = [];
  const { clock = systemClock, ...rest } = options;
  const server = new RegistryServer(
    { bind: '127.0.0.1:0', data: null, ...rest },
    {
      clock,
      random: seededRandom(7),
      log: (level, message, fields) => log.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`),
    },
  );
  await server.start();
  const address = `http://127.0.0.1:${server.address.port}`;
  const close = () => server.close();
  return {
    address,
    log,
    close,
    ask: (method, path, body) => askRegistry(address, method, path, body),
    [Symbol.asyncDispose]: close,
  };
}

export async function askRegistry(
  address: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<RegistryReply> {
  const content = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  const response = await fetch(address + path, { method, body: content });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: isJson ? JSON.parse(text) : undefined,
    index: Number(response.headers.get('x-consul-index') ?? Number.NaN),
  };
}
