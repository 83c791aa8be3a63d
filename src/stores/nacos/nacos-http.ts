import { OperationError } from '../../base/errors.ts';
import type { Answered, HttpAsker } from '../http-asker.ts';
import type { NacosToken } from './nacos-token.ts';

export interface NacosAsked {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** `/v1/ns/instance/list`; the address carries what stands before it. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly form?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Nacos's HTTP API, of 1.x and what later servers keep of it, with the token in the query. Opens nothing before the first request. */
export class NacosHttp {
  readonly #asker: HttpAsker;
  readonly #token: NacosToken;

  constructor(asker: HttpAsker, token: NacosToken) {
    this.#asker = asker;
    this.#token = token;
  }

  /** An answer of any status but those that refuse a user: those reject with `registry-denied`, after one attempt with a new token. */
  async ask(asked: NacosAsked): Promise<Answered> {
    const first = await this.#send(asked);
    if (first.status !== 401 && first.status !== 403) return first;
    if ((await this.#token.get()) !== '') {
      this.#token.drop();
      const second = await this.#send(asked);
      if (second.status !== 401 && second.status !== 403) return second;
    }
    const why = `${first.status}: ${first.body.toString('utf8', 0, 200).trim() || 'no reason given'}`;
    throw new OperationError('registry-denied', `Nacos at ${first.address} refuses ${asked.path} (${why})`);
  }

  async #send({ method, path, query, form, headers, timeoutMs, signal }: NacosAsked): Promise<Answered> {
    const parameters = new URLSearchParams(query);
    const token = await this.#token.get();
    if (token !== '') parameters.set('accessToken', token);
    const text = parameters.toString();
    return this.#asker.ask({
      method,
      path: text === '' ? path : `${path}?${text}`,
      ...(form === undefined ? {} : { body: new URLSearchParams(form).toString() }),
      contentType: 'application/x-www-form-urlencoded',
      headers,
      timeoutMs,
      signal,
    });
  }
}
