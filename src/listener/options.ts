import { isIP } from 'node:net';
import { z } from 'zod';
import type { KindSettings } from '../base/catalog.ts';
import { byteLimit, duration, hostPort, limit, orOff, shown, timeout } from '../base/literals.ts';
import { pathOptions } from '../routing/normal-path.ts';
import { everythingTo, type RouteOptions, routeOptions } from '../routing/options.ts';
import { type RegisterOptions, registerOptions } from './register-options.ts';

/** `10.0.0.0/8`, `fd00::/8` or a single address; the output keeps the text. */
function network() {
  return z.string().refine(isNetwork, {
    error: (issue) => `${shown(issue.input)} is not a network; write it as 10.0.0.0/8, fd00::/8 or 10.1.2.3`,
  });
}

function isNetwork(text: string): boolean {
  const [address, bits, ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

const timeouts = z.strictObject({
  head: timeout().describe("from a request's first byte to the end of its head").prefault('15s'),
  body: timeout().describe("between bytes of a request's body").prefault('15s'),
  idle: timeout().describe('a kept-alive connection without a request').prefault('75s'),
  tunnel: timeout().describe('an upgraded connection without bytes either way').prefault('1h'),
});

const udp = z.strictObject({
  idle: duration().describe('without a datagram either way; then a session is over').prefault('30s'),
  replies: orOff(z.int().min(0).max(1000))
    .describe('answers to each datagram, after which a session is over; 0: none ever come; off: nobody knows')
    .prefault('off'),
  per: z
    .enum(['session', 'packet'])
    .describe("what an endpoint is chosen for: all datagrams of a client's address and port, or each")
    .prefault('session'),
});

const limits = z.strictObject({
  connections: limit().describe('clients connected at once; 0 = no limit').prefault(10_000),
  connectionsPerClient: limit().describe('of one client address at once, over all workers; 0 = no limit').prefault(0),
  head: byteLimit().describe("of a request's head; 0 = no limit").prefault('16KiB'),
  headers: limit().describe('header lines of a request; 0 = no limit').prefault(100),
  target: byteLimit().describe("of a request's target; 0 = no limit but that of the head").prefault('8KiB'),
  body: byteLimit().describe("of a request's body; 0 = no limit").prefault(0),
  bodyRate: byteLimit()
    .describe('bytes a second that a request body must bring, over the body timeout; 0 = no limit')
    .prefault(100),
  chunkExtensions: byteLimit().describe('of one chunk; 0 = none are taken').prefault('4KiB'),
  trailers: byteLimit().describe('of the section behind a chunked body; 0 = none are taken').prefault('16KiB'),
});

const certificate = z.strictObject({
  cert: z.string().min(1).describe('PEM file of the chain, the own certificate first'),
  key: z.string().min(1).describe('PEM file of the key'),
});

const tls = z.strictObject({
  certificates: z
    .array(certificate)
    .min(1)
    .describe('chosen by the name the client asks for; the first where none fits'),
  minVersion: z.enum(['TLSv1.2', 'TLSv1.3']).describe('oldest version a client may speak').prefault('TLSv1.2'),
  ciphers: z
    .string()
    .min(1)
    .describe('suites as OpenSSL writes them, the preferred first; default: those with forward secrecy and AEAD')
    .optional(),
  clientCertificates: z
    .enum(['off', 'request', 'require'])
    .describe('whether clients may or must show a certificate; a bad one is refused')
    .prefault('off'),
  clientCa: z.string().min(1).describe('PEM file of the authorities of client certificates').optional(),
});

/** TLS of a listener. Where files are named, `loadDocument` has put their contents: PEM text, which is never shown or logged. */
export type ListenerTls = z.output<typeof tls>;

const VIA = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}(:\d{1,5})?$/;
const LISTENER_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;

/** Schema of one entry of `listeners:`. `middleware` is the catalog's schema of one stage. */
export function listenerOptions(middleware: z.ZodType<KindSettings>) {
  const bind = z.union([hostPort().transform((text) => [text]), z.array(hostPort()).min(1)]);
  return z
    .strictObject({
      name: z
        .string()
        .regex(LISTENER_NAME, {
          error: (issue) => `${shown(issue.input)} cannot be a name; use letters, digits, _ . - (at most 63)`,
        })
        .describe("the metrics' listener label"),
      bind: bind.describe('the VIP: one address or a list; IPv6 as "[::1]:8080"'),
      protocol: z.enum(['http', 'tcp', 'udp']).describe('what clients speak').prefault('http'),
      tls: tls.describe('TLS towards clients').optional(),
      proxyProtocol: z
        .strictObject({ from: z.array(network()).min(1).describe('networks of the balancers in front') })
        .describe('PROXY protocol: required from these, refused from others')
        .optional(),
      trustForwarded: z
        .array(network())
        .describe("whose X-Forwarded-* and Forwarded are believed and appended to; others' are replaced")
        .prefault([]),
      via: z
        .string()
        .regex(VIA, {
          error: (issue) =>
            `${shown(issue.input)} cannot stand in Via; use letters, digits, _ . - (at most 63), and :PORT`,
        })
        .describe('the name by which Via shows this listener; a request that comes back with it is answered 508')
        .optional(),
      paths: pathOptions.describe('one form of a path, for routes and endpoints alike').prefault({}),
      timeouts: timeouts.describe('of the client side').prefault({}),
      limits: limits.describe('of the client side').prefault({}),
      register: registerOptions
        .describe('where this listener itself is to be found: one registry, or a list')
        .optional(),
      udp: udp.describe('sessions of a UDP listener').prefault({}),
      routes: z.array(routeOptions(middleware)).min(1).describe('which pool serves what').optional(),
      pool: z.string().describe('short for one route that matches everything').optional(),
    })
    .transform(
      ({ routes, pool, tls, proxyProtocol, via, register, ...rest }): ListenerOptions => ({
        ...rest,
        via: via ?? null,
        tls: tls ?? null,
        proxyProtocol: proxyProtocol ?? null,
        register: register ?? [],
        routes: routes ?? (pool === undefined ? [] : [everythingTo(pool)]),
      }),
    );
}

/** A listener as the document says it, resolved: times in ms, sizes in bytes, null for `off` or no limit. */
export interface ListenerOptions {
  readonly name: string;
  /** At least one `host:port`; port 0 lets the system choose. */
  readonly bind: readonly string[];
  readonly protocol: 'http' | 'tcp' | 'udp';
  readonly tls: ListenerTls | null;
  readonly proxyProtocol: { readonly from: readonly string[] } | null;
  /** Networks (`10.0.0.0/8`) or addresses. */
  readonly trustForwarded: readonly string[];
  readonly via: string | null;
  readonly paths: z.output<typeof pathOptions>;
  readonly timeouts: z.output<typeof timeouts>;
  /** Where `head` or `headers` is null the engine's own ceiling holds. */
  readonly limits: z.output<typeof limits>;
  /** Registries that are told of this listener; they are told first when it ends. */
  readonly register: readonly RegisterOptions[];
  readonly udp: z.output<typeof udp>;
  /** At least one; `pool:` has become a route. In the document's order. */
  readonly routes: readonly RouteOptions[];
}
