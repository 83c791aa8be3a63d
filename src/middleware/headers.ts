import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import { type Exchange, type Middleware, type MiddlewareContext, Verdict } from './exchange.ts';

const headerName = z
  .string()
  .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, { error: 'a header name is one token, e.g. x-team' });
const headerValue = z
  .string()
  .regex(/^[\t\x20-\x7e\x80-\xff]*$/, { error: 'a header value is one line without control characters' });
/** Names that frame the message or route it: they are evenkeel's to write. */
const RESERVED = new Set([
  'connection',
  'content-length',
  'transfer-encoding',
  'host',
  'upgrade',
  'te',
  'trailer',
  'keep-alive',
  'proxy-connection',
  'expect',
  'max-forwards',
  'via',
]);

const edits = z
  .record(headerName, z.union([headerValue, z.null()]))
  .refine((record) => Object.keys(record).every((name) => !RESERVED.has(name.toLowerCase())), {
    error: `these frame the message and cannot be set: ${[...RESERVED].join(', ')}`,
  })
  .default({});

const options = z.object({
  request: edits.describe('headers to set on what is forwarded; null removes'),
  response: edits.describe('headers to set on what the client gets; null removes'),
});

/** Sets and removes headers on the way in and on the way out. */
class Headers implements Middleware {
  readonly #request: readonly (readonly [string, string | null])[];
  readonly #response: readonly (readonly [string, string | null])[];

  constructor(settings: z.output<typeof options>) {
    const lower = (record: Record<string, string | null>) =>
      Object.entries(record).map(([name, value]) => [name.toLowerCase(), value] as const);
    this.#request = lower(settings.request);
    this.#response = lower(settings.response);
  }

  onRequest(exchange: Exchange): Verdict {
    for (const [name, value] of this.#request) exchange.setRequestHeader(name, value);
    return Verdict.CONTINUE;
  }

  onResponse(exchange: Exchange): void {
    for (const [name, value] of this.#response) exchange.setResponseHeader(name, value);
  }
}

export const headers: Kind<Middleware, MiddlewareContext> = {
  kind: 'headers',
  summary: 'sets and removes headers of the request and of the response',
  options,
  create: (settings) => new Headers(settings),
};
