import { Catalog } from '../base/catalog.ts';
import type { Middleware, MiddlewareContext } from './exchange.ts';
import { headers } from './headers.ts';
import { redirect } from './redirect.ts';

/** Every middleware there is: one line each. */
export const middleware = new Catalog<Middleware, MiddlewareContext>('middleware', [
  headers, //
  redirect,
]);
