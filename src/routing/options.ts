import { z } from 'zod';
import type { KindSettings } from '../base/catalog.ts';
import { shown } from '../base/literals.ts';

/** Methods a route may ask for, in the order of METHOD_LABELS; a method beyond them only matches routes that name no method. */
export const ROUTE_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'CONNECT'] as const;
export type RouteMethod = (typeof ROUTE_METHODS)[number];

const NAME = /^[A-Za-z0-9._~:/*@+=, -]{1,120}$/;
const HOST = /^(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$|^\[[0-9a-f:.]+\]$/;
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** A value or a list of values; the output is the list. */
function oneOrMore<T extends z.ZodType>(schema: T): z.ZodType<readonly z.output<T>[], z.input<T> | z.input<T>[]> {
  return z.union([schema.transform((value) => [value]), z.array(schema).min(1)]) as never;
}

const host = z
  .string()
  .transform((text) => text.toLowerCase().replace(/\.$/, ''))
  .refine((text) => HOST.test(text), {
    error: (issue) => `${shown(issue.input)} is not a host; write shop.example.com or *.example.com, without a port`,
  });

/** Why a text cannot be a path of a route, or null. Paths are written in the form in which requests are compared: see `comparedPath`. */
function pathFault(text: string): string | null {
  if (!text.startsWith('/')) return 'must begin with /';
  if (/[\0-\x20\x7f-\uffff]/.test(text)) return 'holds a blank, a control or a non-ASCII character';
  if (/[?#]/.test(text)) return 'holds a query or a fragment; a query is matched by `query`';
  if (/[%\\]/.test(text)) return 'holds % or \\; requests are compared decoded, so write the character itself';
  if (text.includes('//')) return 'holds an empty segment; requests are compared without them';
  if (/\/\.{1,2}(\/|$)/.test(text)) return 'holds a dot segment; requests with one are refused';
  return null;
}

function pathText() {
  return z.string().superRefine((text, context) => {
    const fault = pathFault(text);
    if (fault !== null) context.addIssue({ code: 'custom', message: `path ${shown(text)} ${fault}` });
  });
}

const pattern = pathText().superRefine((text, context) => {
  const segments = text.slice(1).split('/');
  const bad = segments.find((segment, i) =>
    segment === '**' ? i !== segments.length - 1 : segment !== '*' && segment.includes('*'),
  );
  if (bad === undefined) return;
  const message = `path pattern ${shown(text)} has the segment "${bad}"; * stands for one whole segment, ** for the rest at the end`;
  context.addIssue({ code: 'custom', message });
});

/** How a route looks at the path, in the form `comparedPath` gives. */
export type PathMatch = { readonly form: 'prefix' | 'exact' | 'pattern'; readonly text: string };

// `/orders/` and `/orders` are one prefix: both match /orders and what lies below, never /ordersx.
const prefix = pathText().transform((text): PathMatch => ({ form: 'prefix', text: text.replace(/\/$/, '') || '/' }));

const path = z.union([
  prefix,
  z.strictObject({ prefix }).transform((value): PathMatch => value.prefix),
  z.strictObject({ exact: pathText() }).transform((value): PathMatch => ({ form: 'exact', text: value.exact })),
  z.strictObject({ pattern }).transform((value): PathMatch => ({ form: 'pattern', text: value.pattern })),
]);

/** What a header or query parameter must be: one of `values`, or only there (`present`), or not there. */
export type ValueMatch = { readonly present: boolean; readonly values: readonly string[] | null };

const value: z.ZodType<ValueMatch, string | string[] | { present: boolean }> = z.union([
  oneOrMore(z.string()).transform((values): ValueMatch => ({ present: true, values })),
  z
    .strictObject({ present: z.boolean().describe('whether it must be there') })
    .transform(({ present }): ValueMatch => ({ present, values: null })),
]) as never;

const headerName = z
  .string()
  .regex(TOKEN, { error: (issue) => `${shown(issue.input)} is not a header name` })
  .transform((name) => name.toLowerCase());

/** `match:` of a route. Everything given must hold; nothing given matches every request. */
export const routeMatch = z
  .strictObject({
    host: oneOrMore(host)
      .describe('host or list of hosts, without port; *.example.com stands for every name below')
      .optional(),
    path: path.describe('prefix in whole segments, or { exact: /x }, or { pattern: /users/*/orders }').optional(),
    method: oneOrMore(z.enum(ROUTE_METHODS)).describe('method or list of methods').optional(),
    header: z
      .record(headerName, value)
      .describe('by header name: a value, a list of values, or { present: true }')
      .prefault({}),
    query: z
      .record(z.string().min(1), value)
      .describe('by parameter name: a value, a list of values, or { present: true }')
      .prefault({}),
    sni: oneOrMore(host)
      .describe('of TCP: name or list of names a TLS client asks for; *.example.com stands for every name below')
      .optional(),
    alpn: oneOrMore(z.string().min(1).max(255))
      .describe('of TCP: protocol or list of protocols of which a TLS client offers one')
      .optional(),
  })
  .transform(({ host = null, path = null, method = null, sni = null, alpn = null, header, query }): RouteMatch => {
    return { host, path, method, header, query, sni, alpn };
  });

/** What a route asks of a request; null where it does not ask. */
export interface RouteMatch {
  /** Lower case, without port and trailing dot; `*.example.com` for every name below. */
  readonly host: readonly string[] | null;
  readonly path: PathMatch | null;
  readonly method: readonly RouteMethod[] | null;
  /** By name in lower case. */
  readonly header: Readonly<Record<string, ValueMatch>>;
  readonly query: Readonly<Record<string, ValueMatch>>;
  /** Of TCP routes: as `host`. */
  readonly sni: readonly string[] | null;
  /** Of TCP routes: ALPN names. */
  readonly alpn: readonly string[] | null;
}

/** Schema of one entry of `routes:`. `middleware` is the catalog's schema of one stage. */
export function routeOptions(middleware: z.ZodType<KindSettings>) {
  return z
    .strictObject({
      name: z
        .string()
        .regex(NAME, { error: (issue) => `${shown(issue.input)} cannot be a name; use letters, digits and . _ - / *` })
        .describe("the metrics' route label; default: its host and path")
        .optional(),
      match: routeMatch.describe('which requests; none = every request').prefault({}),
      pool: z.string().describe('the pool that serves them'),
      connect: z
        .boolean()
        .describe('whether CONNECT opens a tunnel to an endpoint of the pool, never to what the client names')
        .prefault(false),
      middleware: z.array(middleware).describe('stages, in the order they see the request').prefault([]),
    })
    .transform(({ name, match, pool, connect, middleware }): RouteOptions => {
      return { name: name ?? defaultRouteName(match), match, pool, connect, middleware };
    });
}

/** A route as the document says it, resolved. Read by RouteTable and by the diff of two documents. */
export interface RouteOptions {
  /** Unique in its listener. */
  readonly name: string;
  readonly match: RouteMatch;
  readonly pool: string;
  readonly connect: boolean;
  readonly middleware: readonly KindSettings[];
}

/** Host and path, `/` for everything; the method before them where the route asks for one. */
export function defaultRouteName(match: RouteMatch): string {
  if (match.sni !== null || match.alpn !== null) return [...(match.sni ?? ['*']), ...(match.alpn ?? [])].join(',');
  const place = `${match.host?.join(',') ?? ''}${match.path?.text ?? '/'}`;
  return match.method === null ? place : `${match.method.join(',')} ${place}`;
}

/** The route that `pool: NAME` of a listener is short for. */
export function everythingTo(pool: string): RouteOptions {
  const match: RouteMatch = { host: null, path: null, method: null, header: {}, query: {}, sni: null, alpn: null };
  return { name: defaultRouteName(match), match, pool, connect: false, middleware: [] };
}
