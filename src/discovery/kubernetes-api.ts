import { Agent, type Dispatcher } from 'undici';
import { OperationError } from '../base/errors.ts';
import type { KubernetesAccess } from './kubernetes-access.ts';

/** A page of 500 slices of 100 endpoints with long metadata fits several times. */
const MAX_BODY = 256 * 1024 * 1024;
/** A bookmark comes every minute or so; a watch that says nothing for longer is a dead connection. */
export const QUIET_MS = 90_000;

/** An answer that is no success. `retryAfterMs` is what the server asked for; 0 where it did not. */
export class KubernetesRefusal extends OperationError {
  readonly status: number;
  readonly retryAfterMs: number;

  constructor(status: number, message: string, retryAfterMs: number) {
    const isDenied = status === 401 || status === 403;
    super(isDenied ? 'registry-denied' : 'registry-error', message, { retryable: !isDenied });
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

export interface StreamEvents {
  /** The server said 200; lines follow. */
  opened(): void;
  /** Complete lines, as soon as they are: those that came together in one call. */
  lines(lines: readonly string[]): void;
}

/** GET requests to one API server: over HTTP/1.1, one connection for each that is under way. Rejects with an OperationError only. */
export class KubernetesApi {
  readonly #access: KubernetesAccess;
  readonly #agent: Agent;

  constructor(access: KubernetesAccess) {
    this.#access = access;
    const { ca, cert, key, serverName: servername, verify: rejectUnauthorized } = access.tls;
    const tls = access.origin.startsWith('https:') ? { ca, cert, key, servername, rejectUnauthorized } : {};
    this.#agent = new Agent({
      allowH2: false,
      pipelining: 1,
      connect: { timeout: 5000, keepAliveInitialDelay: 15_000, ...tls },
    });
  }

  /** A whole answer, as JSON. */
  async get(path: string, signal: AbortSignal): Promise<unknown> {
    const body = await this.#request(path, 30_000, signal);
    try {
      return JSON.parse(await textOf(body));
    } catch (error) {
      throw toOperationError(error, this.#access.origin);
    }
  }

  /** Follows an answer that goes on. Resolves when the server ends it; rejects with what `lines` throws, too. */
  async stream(path: string, signal: AbortSignal, on: StreamEvents): Promise<void> {
    const body = await this.#request(path, QUIET_MS, signal);
    on.opened();
    let rest = '';
    try {
      body.setEncoding('utf8');
      for await (const chunk of body) {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop()!;
        if (rest.length > MAX_BODY) throw new Error(`a line of more than ${MAX_BODY} bytes`);
        const whole = lines.filter((line) => line !== '');
        if (whole.length > 0) on.lines(whole);
      }
    } catch (error) {
      throw toOperationError(error, this.#access.origin);
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #request(path: string, bodyTimeout: number, signal: AbortSignal): Promise<Dispatcher.ResponseData['body']> {
    let response = await this.#send(path, bodyTimeout, signal);
    if (response.statusCode === 401) {
      // Tokens are replaced on disk before they run out, and now and then after.
      this.#access.refused();
      await response.body.dump();
      response = await this.#send(path, bodyTimeout, signal);
    }
    if (response.statusCode === 200) return response.body;
    const text = await textOf(response.body).catch(() => '');
    const retryAfter = Number(response.headers['retry-after']);
    const waitMs = Number.isFinite(retryAfter) && retryAfter > 0 ? Math.min(60, retryAfter) * 1000 : 0;
    throw new KubernetesRefusal(response.statusCode, refusalMessage(response.statusCode, text), waitMs);
  }

  async #send(path: string, bodyTimeout: number, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const { origin } = this.#access;
    const authorization = await this.#access.authorization();
    const headers: Record<string, string> = { accept: 'application/json', 'user-agent': 'evenkeel' };
    if (authorization !== '') headers.authorization = authorization;
    try {
      return await this.#agent.request({
        origin,
        path,
        method: 'GET',
        headers,
        headersTimeout: 15_000,
        bodyTimeout,
        signal,
      });
    } catch (error) {
      throw toOperationError(error, origin);
    }
  }
}

async function textOf(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > MAX_BODY) throw new Error(`an answer of more than ${MAX_BODY} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** The API server says why in a `Status`; what stands before it may say it in any way. */
function refusalMessage(status: number, text: string): string {
  let reason = text.trim().slice(0, 300);
  try {
    reason = (JSON.parse(text) as { message: string }).message;
  } catch {
    // It stays as it came.
  }
  const hint =
    status === 403 ? '; the service account needs get, list and watch on endpointslices.discovery.k8s.io' : '';
  return `Kubernetes refuses (${status}: ${reason || 'no reason given'})${hint}`;
}

function toOperationError(error: unknown, origin: string): OperationError {
  if (error instanceof OperationError) return error;
  const { name, code, message } = error as { name?: string; code?: string; message?: string };
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT' || name === 'TimeoutError')
    return new OperationError('registry-timeout', `${origin} does not answer in time`, {
      retryable: true,
      cause: error,
    });
  const why =
    code === 'ECONNREFUSED' ? 'refuses connections' : `cannot be reached: ${message || code || String(error)}`;
  return new OperationError('registry-unreachable', `${origin} ${why}`, { retryable: true, cause: error });
}
