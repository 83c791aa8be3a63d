import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import type { Exchange, Middleware, MiddlewareContext, Verdict } from './exchange.ts';

const options = z.object({
  to: z
    .string()
    .regex(/^[\x21-\x7e]+$/, {
      error: 'a redirect target is a URL or a path; {host}, {path} and {query} stand for those of the request',
    })
    .describe('where to: {host} {path} {query} stand for those of the request, e.g. https://{host}{path}'),
  status: z
    .union([z.literal(301), z.literal(302), z.literal(303), z.literal(307), z.literal(308)])
    .default(308)
    .describe('redirect status'),
});

/** Answers with a redirect. The request's parts are bytes that the head reader let through, so none of them can break the line. */
class Redirect implements Middleware {
  readonly #to: string;
  readonly #status: number;

  constructor(settings: z.output<typeof options>) {
    this.#to = settings.to;
    this.#status = settings.status;
  }

  onRequest(exchange: Exchange): Verdict {
    // RFC 9112 §3.2: HTTP/1.0 may leave Host out; then there is nowhere to lead to.
    if (exchange.host === '' && this.#to.includes('{host}'))
      return exchange.answer(400, 'the request names no host\n', { 'x-evenkeel-reason': 'bad-request' });
    const query = exchange.query === '' ? '' : `?${exchange.query}`;
    let location = this.#to.replace(/\{(host|path|query)\}/g, (_, part: string) =>
      part === 'host' ? exchange.host : part === 'path' ? exchange.path : query,
    );
    // `//evil.example/` as a path would send the client to another host, where the document only says a path.
    if (this.#to.startsWith('{path}')) location = location.replace(/^\/+/, '/');
    return exchange.answer(this.#status, `moved to ${location}\n`, { location });
  }
}

export const redirect: Kind<Middleware, MiddlewareContext> = {
  kind: 'redirect',
  summary: 'answers with a redirect',
  options,
  create: (settings) => new Redirect(settings),
};
