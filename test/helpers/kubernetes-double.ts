import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import recorded from './kubernetes-recorded.json' with { type: 'json' };

/** What a test says of one endpoint of a slice; the rest is as in the recorded slice. */
export interface SliceEndpoint {
  readonly address: string;
  readonly conditions?: Record<string, boolean | null>;
  readonly [field: string]: unknown;
}

export interface SliceOptions {
  readonly service: string;
  readonly namespace?: string;
  readonly ports?: readonly { readonly name?: string; readonly port: number; readonly appProtocol?: string }[] | null;
  readonly labels?: Record<string, string>;
  readonly annotations?: Record<string, string>;
}

interface Stored {
  readonly namespace: string;
  readonly version: number;
  readonly object: Record<string, unknown>;
}

interface Watcher {
  readonly namespace: string;
  readonly response: ServerResponse;
}

/**
 * Stands in for the API server of Kubernetes, of which Debian has no package: EndpointSlices with versions, list in pages, watch from a version, bookmarks, 410
 * as the documentation says ("Kubernetes API Concepts": efficient detection of changes), in the shapes of the answers recorded of a real one
 * (`kubernetes-recorded.json`). Whoever starts one closes it.
 */
export class KubernetesDouble {
  /** Paths with their queries, in the order they came. */
  readonly requests: string[] = [];
  /** Versions of the API group that are served. */
  groups = ['v1', 'v1beta1'];
  /** Accepted tokens; null: everybody is let in. */
  tokens: string[] | null = null;
  /** How a version that is too old is answered: in the real server's watch it is an event, behind its cache an answer. */
  goneBy: 'event' | 'answer' = 'event';
  /** Slices a page at most, whatever is asked for. */
  page = 500;
  /** The next requests are answered with these statuses. */
  readonly refusals: number[] = [];
  readonly #slices = new Map<string, Stored>();
  readonly #history: { readonly version: number; readonly namespace: string; readonly line: string }[] = [];
  readonly #watchers = new Set<Watcher>();
  readonly #server;
  #version = 192;
  #oldest = 192;
  #port = 0;

  constructor(tls?: { readonly cert: string; readonly key: string; readonly ca?: string }) {
    const handle = (request: IncomingMessage, response: ServerResponse) => this.#handle(request, response);
    const client = tls?.ca === undefined ? {} : { requestCert: true, rejectUnauthorized: true };
    this.#server = tls === undefined ? createServer(handle) : createSecureServer({ ...tls, ...client }, handle);
  }

  get port(): number {
    return this.#port;
  }

  get address(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  /** Again on the same port after a `stop`. */
  async start(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Cuts everything and refuses connections; what is stored stays. */
  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#watchers.clear();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** Writes a slice, as the controller of a Service does. */
  put(name: string, options: SliceOptions, endpoints: readonly SliceEndpoint[]): void {
    const namespace = options.namespace ?? 'default';
    const key = `${namespace}/${name}`;
    const type = this.#slices.has(key) ? 'MODIFIED' : 'ADDED';
    const [{ metadata, addressType }] = recorded.list.items;
    const version = ++this.#version;
    const object = {
      kind: 'EndpointSlice',
      apiVersion: 'discovery.k8s.io/v1',
      metadata: {
        ...metadata,
        name,
        namespace,
        resourceVersion: String(version),
        labels: { ...options.labels, 'kubernetes.io/service-name': options.service },
        annotations: options.annotations,
      },
      addressType,
      endpoints: endpoints.map(({ address, ...rest }) => ({
        addresses: [address],
        conditions: { ready: true },
        ...rest,
      })),
      ports: options.ports === undefined ? [{ name: 'http', protocol: 'TCP', port: 8080 }] : options.ports,
    };
    this.#slices.set(key, { namespace, version, object });
    this.#happened(namespace, type, object);
  }

  delete(name: string, namespace = 'default'): void {
    const stored = this.#slices.get(`${namespace}/${name}`)!;
    this.#slices.delete(`${namespace}/${name}`);
    const version = ++this.#version;
    const metadata = { ...(stored.object.metadata as object), resourceVersion: String(version) };
    this.#happened(namespace, 'DELETED', { ...stored.object, metadata });
  }

  /** Forgets what happened: who watches from an earlier version is told 410. */
  compact(): void {
    this.#version++;
    this.#oldest = this.#version;
    this.#history.length = 0;
  }

  bookmark(): void {
    const bookmark = JSON.parse(recorded.watch.find((line) => line.includes('BOOKMARK'))!);
    bookmark.object.metadata.resourceVersion = String(this.#version);
    for (const { response } of this.#watchers) response.write(`${JSON.stringify(bookmark)}\n`);
  }

  /** Says these lines to everybody who watches. */
  say(lines: readonly string[]): void {
    for (const { response } of this.#watchers) response.write(lines.map((line) => `${line}\n`).join(''));
  }

  /** Ends every watch: as the server does when its time is over, or by cutting the connection. */
  end(how: 'orderly' | 'cut'): void {
    for (const { response } of this.#watchers) how === 'cut' ? response.destroy() : response.end();
    this.#watchers.clear();
  }

  #happened(namespace: string, type: string, object: unknown): void {
    const line = `${JSON.stringify({ type, object })}\n`;
    this.#history.push({ version: this.#version, namespace, line });
    for (const watcher of this.#watchers) if (watcher.namespace === namespace) watcher.response.write(line);
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url!, this.address);
    this.requests.push(request.url!);
    const refusal = this.refusals.shift();
    const token = request.headers.authorization?.replace('Bearer ', '') ?? '';
    if (refusal !== undefined)
      return this.#status(response, { ...recorded.tooLarge, code: refusal, message: 'asked to' });
    if (this.tokens !== null && !this.tokens.includes(token)) return this.#status(response, recorded.unauthorized);
    const path = /^\/apis\/discovery\.k8s\.io\/([^/]+)\/namespaces\/([^/]+)\/endpointslices$/.exec(url.pathname);
    if (path === null || !this.groups.includes(path[1])) {
      response.writeHead(404, { 'content-type': 'text/plain' });
      response.end('404 page not found\n');
      return;
    }
    if (path[2] === 'forbidden') return this.#status(response, recorded.forbidden);
    if (url.searchParams.get('watch') === '1')
      this.#watch(response, path[2], Number(url.searchParams.get('resourceVersion')));
    else this.#list(response, path[2], url.searchParams);
  }

  #status(response: ServerResponse, status: { readonly code: number; readonly message: string }): void {
    response.writeHead(status.code, { 'content-type': 'application/json' });
    response.end(JSON.stringify(status));
  }

  #list(response: ServerResponse, namespace: string, query: URLSearchParams): void {
    const all = [...this.#slices.values()].filter((one) => one.namespace === namespace);
    const from = Number(query.get('continue') ?? 0);
    const to = from + Math.min(this.page, Number(query.get('limit') ?? Number.POSITIVE_INFINITY));
    const metadata = { resourceVersion: String(this.#version), ...(to < all.length ? { continue: String(to) } : {}) };
    const items = all.slice(from, to).map(({ object }) => object);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ ...recorded.list, metadata, items }));
  }

  #watch(response: ServerResponse, namespace: string, version: number): void {
    const isGone = version < this.#oldest;
    const gone = recorded.watch.find((line) => line.includes('"ERROR"'))!;
    if (isGone && this.goneBy === 'answer') return this.#status(response, JSON.parse(gone).object);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    if (isGone) {
      response.end(`${gone}\n`);
      return;
    }
    for (const one of this.#history) if (one.version > version && one.namespace === namespace) response.write(one.line);
    const watcher = { namespace, response };
    this.#watchers.add(watcher);
    response.once('close', () => this.#watchers.delete(watcher));
  }
}
