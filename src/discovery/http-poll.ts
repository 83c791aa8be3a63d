import { Client } from 'undici';
import { Backoff } from '../base/backoff.ts';
import { OperationError } from '../base/errors.ts';
import { jittered, type Random } from '../base/random.ts';
import type { ClientTls } from '../stores/client-tls.ts';

export interface HttpPollOptions {
  readonly url: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Bytes an answer may have. */
  readonly maxSize: number;
  /** The header; '' for none. */
  readonly authorization: string;
  readonly tls: ClientTls;
  readonly random: Random;
  /** An answer that differs from the one before, or may. May throw an OperationError, and the answer counts as none. */
  readonly onText: (text: string) => void;
  /** The answer is what it was. */
  readonly onSame: () => void;
  readonly onFailed: (error: OperationError) => void;
}

/**
 * Asks one address again and again, with what it said of the last answer (`ETag`, `Last-Modified`: RFC 9110 §13), so that an answer which did not change
 * costs next to nothing. Follows no redirects: they could lead anywhere, with our credentials.
 */
export class HttpPoll {
  readonly #options: HttpPollOptions;
  readonly #client: Client;
  readonly #path: string;
  readonly #backoff: Backoff;
  #etag = '';
  #modified = '';
  #text: string | null = null;
  #timer: NodeJS.Timeout | null = null;
  #asking: AbortController | null = null;
  #isClosed = false;
  /** Asked to ask while it did. */
  #again = false;

  constructor(options: HttpPollOptions) {
    this.#options = options;
    const { origin, protocol, pathname, search } = new URL(options.url);
    const { ca, cert, key, serverName: servername, verify: rejectUnauthorized } = options.tls;
    const tls = protocol === 'https:' ? { ca, cert, key, servername, rejectUnauthorized } : {};
    const connect = { timeout: Math.min(5000, options.timeoutMs), ...tls };
    this.#client = new Client(origin, { allowH2: false, pipelining: 1, connect });
    this.#path = pathname + search;
    this.#backoff = new Backoff(250, Math.max(1000, options.intervalMs), options.random);
  }

  start(): void {
    void this.#ask();
  }

  /** Asks now. */
  refresh(): void {
    if (this.#asking !== null) this.#again = true;
    else void this.#ask();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#asking?.abort();
    await this.#client.destroy();
  }

  async #ask(): Promise<void> {
    if (this.#isClosed) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#again = false;
    const asking = new AbortController();
    this.#asking = asking;
    const timeout = setTimeout(() => asking.abort(new DOMException('', 'TimeoutError')), this.#options.timeoutMs);
    let failure: OperationError | null = null;
    try {
      await this.#request(asking.signal);
    } catch (error) {
      failure = toOperationError(error, asking.signal, this.#options);
    }
    clearTimeout(timeout);
    this.#asking = null;
    if (this.#isClosed) return;
    if (failure === null) this.#backoff.reset();
    else this.#options.onFailed(failure);
    const waitMs =
      failure === null ? jittered(this.#options.random, this.#options.intervalMs, 0.2) : this.#backoff.next();
    this.#timer = setTimeout(() => void this.#ask(), this.#again ? 0 : waitMs);
  }

  async #request(signal: AbortSignal): Promise<void> {
    const headers: Record<string, string> = {
      accept: 'application/json, application/yaml;q=0.9, */*;q=0.1',
      'user-agent': 'evenkeel',
    };
    if (this.#options.authorization !== '') headers.authorization = this.#options.authorization;
    if (this.#etag !== '') headers['if-none-match'] = this.#etag;
    else if (this.#modified !== '') headers['if-modified-since'] = this.#modified;
    const response = await this.#client.request({ method: 'GET', path: this.#path, headers, signal });
    const { statusCode: status, body } = response;
    if (status === 304 && this.#text !== null) {
      await body.dump();
      if (!this.#isClosed) this.#options.onSame();
      return;
    }
    const text = await this.#textOf(body);
    if (status !== 200) throw refusal(status, text, this.#options.url);
    if (this.#isClosed) return;
    if (text === this.#text) this.#options.onSame();
    else this.#options.onText(text);
    this.#text = text;
    this.#etag = String(response.headers.etag ?? '');
    this.#modified = String(response.headers['last-modified'] ?? '');
  }

  async #textOf(body: AsyncIterable<Buffer>): Promise<string> {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of body) {
      length += chunk.length;
      const { maxSize, url } = this.#options;
      if (length > maxSize)
        throw new OperationError('registry-error', `${url} answers more than ${maxSize} bytes`, { retryable: true });
      chunks.push(chunk);
    }
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
    } catch {
      throw new OperationError('registry-unreadable', `${this.#options.url} does not answer UTF-8 text`, {
        retryable: true,
      });
    }
  }
}

function refusal(status: number, text: string, url: string): OperationError {
  const why = `${status}: ${text.trim().slice(0, 200) || 'no reason given'}`;
  if (status === 401 || status === 403)
    return new OperationError('registry-denied', `${url} does not let us in (${why})`);
  return new OperationError('registry-error', `${url} does not tell (${why})`, { retryable: true });
}

function toOperationError(error: unknown, signal: AbortSignal, { url, timeoutMs }: HttpPollOptions): OperationError {
  if (error instanceof OperationError) return error;
  const { code, message } = error as { code?: string; message?: string };
  if (signal.aborted)
    return new OperationError('registry-timeout', `${url} does not answer within ${timeoutMs} ms`, {
      retryable: true,
      cause: error,
    });
  const why =
    code === 'ECONNREFUSED' ? 'refuses connections' : `cannot be reached: ${message || code || String(error)}`;
  return new OperationError('registry-unreachable', `${url} ${why}`, { retryable: true, cause: error });
}
