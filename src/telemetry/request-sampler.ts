import type { AccessRecord, AccessSink } from '../proxy/access-sink.ts';
import type { RouteMatch } from '../routing/options.ts';

/** Samples that may wait for a tick; beyond, they are left out. */
const MAX_WAITING = 64;

/** A request as the routes saw it, and where it went. Crosses from a worker to main. */
export interface RequestSample {
  readonly listener: string;
  readonly method: string;
  readonly host: string;
  /** In the form it was sent on in, without the query. */
  readonly path: string;
  /** Only those that routes ask for and that hold no secret; null where the request had none. */
  readonly headers: Readonly<Record<string, string | null>>;
  readonly query: Readonly<Record<string, string | null>>;
  /** '' where there was none. */
  readonly route: string;
  readonly pool: string;
  readonly status: number;
}

/** What the routes of a listener ask for, by name. */
export interface SampledNames {
  readonly headers: readonly string[];
  readonly query: readonly string[];
}

export interface RequestSamplerOptions {
  /** One request in so many is kept. */
  readonly every: number;
  readonly names: SampledNames;
  /** The access log behind it; null when none is kept. */
  readonly next: AccessSink | null;
  readonly send: (samples: readonly RequestSample[]) => void;
}

/** The worker's side of the window of sampled requests: looks at one exchange in so many, hands over what it saw once per wheel tick. One per listener. */
export class RequestSampler implements AccessSink {
  readonly #every: number;
  readonly #names: SampledNames;
  readonly #next: AccessSink | null;
  readonly #send: RequestSamplerOptions['send'];
  #left = 1;
  #waiting: RequestSample[] = [];

  constructor({ every, names, next, send }: RequestSamplerOptions) {
    this.#every = every;
    this.#names = names;
    this.#next = next;
    this.#send = send;
  }

  record(exchange: AccessRecord): void {
    this.#next?.record(exchange);
    if (--this.#left > 0) return;
    this.#left = this.#every;
    if (exchange.host === undefined || this.#waiting.length >= MAX_WAITING) return;
    this.#waiting.push({
      listener: exchange.listenerName,
      method: exchange.methodText,
      host: exchange.host,
      path: exchange.path,
      headers: valuesOf(this.#names.headers, (name) => exchange.header?.(name) ?? null),
      query: valuesOf(this.#names.query, (name) => exchange.queryValue?.(name) ?? null),
      route: exchange.routeName,
      pool: exchange.poolName,
      status: exchange.status,
    });
  }

  flush(): void {
    if (this.#waiting.length === 0) return;
    this.#send(this.#waiting);
    this.#waiting = [];
  }
}

/** Names that a listener's routes ask for; `isSecret` says which must not be kept. */
export function sampledNames(routes: readonly { readonly match: RouteMatch }[], isSecret: (name: string) => boolean) {
  const namesOf = (pick: (match: RouteMatch) => object) =>
    [...new Set(routes.flatMap(({ match }) => Object.keys(pick(match))))].filter((name) => !isSecret(name));
  return { headers: namesOf(({ header }) => header), query: namesOf(({ query }) => query) };
}

function valuesOf(names: readonly string[], read: (name: string) => string | null): Record<string, string | null> {
  const values: Record<string, string | null> = {};
  for (const name of names) values[name] = read(name);
  return values;
}
