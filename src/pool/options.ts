import { z } from 'zod';
import type { KindSettings } from '../base/catalog.ts';
import { duration, limit, orOff, share, timeout } from '../base/literals.ts';
import { type StaticEndpoint, staticEndpoint } from '../discovery/static-endpoint.ts';
import { type DampingOptions, dampingOptions } from '../health/damping.ts';
import type { EjectionOptions } from '../health/ejection-options.ts';
import { type AffinityOptions, affinityOptions } from './affinity.ts';
import { type HedgingOptions, hedgingOptions } from './hedging.ts';
import { RETRY_ON_WORDS } from './retry.ts';

/** The schemas of the parts a pool is made of; app takes them from the catalogs. */
export interface PoolParts {
  readonly scheduler: z.ZodType<KindSettings>;
  readonly probe: z.ZodType<KindSettings>;
  readonly ejection: z.ZodType<EjectionOptions>;
}

const discovery = z.strictObject({
  registry: z.string().describe('name of an entry of registries'),
  service: z.string().min(1).describe("the registry's own name for the service"),
  tags: z.array(z.string()).describe('only endpoints that carry all of these').prefault([]),
  datacenter: z.string().min(1).describe('where the registry knows several').optional(),
});

const several = z.array(discovery).min(1);

const discover = z.union([
  discovery.transform((one): Discover => ({ policy: 'union', from: [one] })),
  z
    .strictObject({
      union: several.describe('the endpoints of all of these; of an address told twice the earlier entry'),
    })
    .transform(({ union }): Discover => ({ policy: 'union', from: union })),
  z
    .strictObject({ first: several.describe('the endpoints of the first of these that has any that are fit') })
    .transform(({ first }): Discover => ({ policy: 'first', from: first })),
]);

const retryWord = z
  .union([z.enum(RETRY_ON_WORDS), z.literal([502, 503, 504])])
  .transform((word) => String(word) as (typeof RETRY_ON_WORDS)[number]);

const retry = z.strictObject({
  attempts: z.int().min(0).max(10).describe('attempts beyond the first').prefault(1),
  on: z
    .array(retryWord)
    .describe('what may be tried again on another endpoint')
    .prefault(['connect-failure', 'reset', 502, 503, 504]),
  budget: share().describe('retries as a share of the requests that come').prefault('20%'),
  perTryTimeout: timeout().describe('to the response head, per attempt').prefault('5s'),
});

const timeouts = z.strictObject({
  connect: timeout().describe('to an open connection, TLS included').prefault('1s'),
  response: timeout().describe("from the request's end to the response head").prefault('15s'),
  request: timeout().describe('from arrival to the response head, queue and retries included').prefault('60s'),
  between: timeout().describe('bytes of a response body').prefault('60s'),
  idle: timeout().describe('an unused upstream connection; less where the endpoint says so').prefault('4s'),
});

const limits = z.strictObject({
  active: limit().describe('requests in flight per endpoint; 0 = no limit').prefault(1024),
  pending: limit().describe('requests that wait for an endpoint, per pool; 0 = no limit').prefault(1024),
  pendingTimeout: timeout().describe('how long one may wait').prefault('1s'),
});

const tls = z.strictObject({
  ca: z.string().min(1).describe("PEM file of the authorities; default: the system's").optional(),
  serverName: z
    .string()
    .min(1)
    .describe("whose certificate is expected; default: the endpoint's DNS name, else its address")
    .optional(),
  verify: z.boolean().describe("whether the endpoint's certificate is checked").prefault(true),
  cert: z.string().min(1).describe('PEM file of the own certificate').optional(),
  key: z.string().min(1).describe('PEM file of its key').optional(),
});

/** Schema of one entry of `pools:`. That exactly one of `discover` and `endpoints` is given is a cross-check of the document. */
export function poolOptions(parts: PoolParts) {
  return z
    .strictObject({
      discover: discover
        .describe('endpoints from a registry, or from several as { union: […] } or { first: […] }')
        .optional(),
      endpoints: z.array(staticEndpoint).min(1).describe('endpoints by address').optional(),
      scheduler: parts.scheduler.describe('which endpoint is next').prefault('response-time' as never),
      host: z
        .enum(['keep', 'endpoint'])
        .describe("what endpoints see as Host: the client's, or their own address")
        .prefault('keep'),
      affinity: orOff(affinityOptions).describe('keeps a client at its endpoint by a cookie').prefault('off'),
      probe: orOff(parts.probe).describe('active check of every endpoint').prefault('off'),
      ejection: orOff(parts.ejection)
        .describe('takes endpoints out that fail live traffic')
        .prefault({} as never),
      damping: orOff(dampingOptions)
        .describe('holds endpoints down that probes or registry take out and bring back too often')
        .prefault({}),
      retry: orOff(retry).describe('another attempt, on another endpoint').prefault({}),
      hedging: orOff(hedgingOptions)
        .describe('a second attempt beside one that is slow, of requests that may be sent twice and have no body')
        .prefault('off'),
      timeouts: timeouts.describe('of the upstream side').prefault({}),
      limits: limits.describe('in the process, not per worker').prefault({}),
      slowStart: orOff(duration())
        .describe('time over which a new or recovered endpoint grows to its full share')
        .prefault('off'),
      panic: orOff(share())
        .describe('with a smaller share of fit endpoints than this, or none, health is not believed and all are used')
        .prefault('50%'),
      maxAge: timeout().describe('a relayed connection is ended at this age, give or take a tenth').prefault('off'),
      onRemoval: z
        .union([z.literal('finish').transform(() => null), duration()])
        .describe(
          'relayed connections of an endpoint that left or went down: let them finish, or cut them after this time',
        )
        .prefault('finish'),
      tls: tls.describe('TLS to the endpoints').optional(),
      proxyProtocol: z.enum(['v1', 'v2']).describe('PROXY protocol to the endpoints').optional(),
    })
    .transform(
      ({ discover, endpoints, tls, proxyProtocol, ...rest }): PoolOptions => ({
        ...rest,
        discover: discover ?? null,
        endpoints: endpoints ?? null,
        tls: tls ?? null,
        proxyProtocol: proxyProtocol ?? null,
      }),
    );
}

/** One service of one registry. */
export type Discovery = z.output<typeof discovery>;

/** Where a pool's endpoints come from: of all entries together, or of the first that has any that are fit. At least one. */
export interface Discover {
  readonly policy: 'union' | 'first';
  readonly from: readonly Discovery[];
}

/** A pool as the document says it, resolved: times in ms, sizes in bytes, shares 0…1, null for `off`, no limit or not given. */
export interface PoolOptions {
  /** Exactly one of `discover` and `endpoints` is not null. */
  readonly discover: Discover | null;
  readonly endpoints: readonly StaticEndpoint[] | null;
  readonly scheduler: KindSettings;
  readonly host: 'keep' | 'endpoint';
  readonly affinity: AffinityOptions | null;
  readonly probe: KindSettings | null;
  readonly ejection: EjectionOptions | null;
  readonly damping: DampingOptions | null;
  readonly retry: RetryOptions | null;
  readonly hedging: HedgingOptions | null;
  readonly timeouts: z.output<typeof timeouts>;
  readonly limits: z.output<typeof limits>;
  /** 0 and null: full share at once. */
  readonly slowStart: number | null;
  /** 0…1: panic with a smaller share of fit endpoints than this, or none; null: never, an unfit endpoint is not used. */
  readonly panic: number | null;
  /** ms; of TCP connections. */
  readonly maxAge: number | null;
  /** ms until TCP connections of an endpoint that left or went down are cut; null: they finish. */
  readonly onRemoval: number | null;
  /** Where files are named, `loadDocument` has put their contents: PEM text, which is never shown or logged. */
  readonly tls: z.output<typeof tls> | null;
  readonly proxyProtocol: 'v1' | 'v2' | null;
}

export type RetryOptions = z.output<typeof retry>;
