import type { PathRules } from '../../routing/normal-path.ts';
import type { RouteOptions } from '../../routing/options.ts';
import { type MatchedHead, matchHead, type RouteReason, routeReasons } from '../../routing/route-reasons.ts';
import { RouteTable } from '../../routing/route-table.ts';
import type { HashKey } from '../../scheduling/hash-key.ts';
import { HeadStatus } from '../../wire/http1/head-status.ts';
import { RequestHead } from '../../wire/http1/request-head.ts';
import { HeaderEdits } from './header-edits.ts';
import { hashOfRequest } from './request-hash.ts';
import { RequestView } from './request-view.ts';

const LIMITS = { headBytes: 64 * 1024, headers: 200, target: 32 * 1024 };
/** Other routes that are given a reason; each takes some tables of its own. */
const REASONED = 100;

/** What somebody wants explained: a request that nobody sends. */
export interface RequestInQuestion {
  readonly method: string;
  /** Host with port, as a client would send it. */
  readonly host: string;
  /** Path and query. */
  readonly target: string;
  readonly headers: readonly (readonly [string, string])[];
  /** The client's address; '' when it does not matter. */
  readonly client: string;
}

/** Where a request would go. */
export interface RouteExplanation {
  readonly route: RouteOptions | null;
  /** What the client would be answered in place of an endpoint; null when a route matches. */
  readonly refusal: { readonly status: number; readonly reason: string } | null;
  readonly others: readonly RouteReason[];
}

/**
 * A request that is only talked about: written as bytes, read by the engine's own reader, matched by the engine's own table. On main, for the API.
 * Throws an Error that says why when it could not be sent at all.
 */
export class ExplainedRequest extends RequestView {
  readonly clientAddress: string;
  readonly requestEdits = new HeaderEdits();
  readonly #head: RequestHead;

  constructor({ method, host, target, headers, client }: RequestInQuestion) {
    const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    const bytes = Buffer.from(`${method} ${target} HTTP/1.1\r\nhost: ${host}\r\n${lines}\r\n`, 'latin1');
    const head = new RequestHead(LIMITS);
    if (head.read(bytes, 0, bytes.length) !== HeadStatus.COMPLETE)
      throw new Error(`no client could send this: ${head.errorDetail || 'the head is not complete'}`);
    super(head);
    this.#head = head;
    this.bytes = bytes;
    this.clientAddress = client;
  }

  get headBytes(): Buffer {
    return this.bytes;
  }

  /** The route that gets it on a listener with these routes and rules, and why each of the others does not. The path has its normal form from then on. */
  routeOf(routes: readonly RouteOptions[], paths: PathRules): RouteExplanation {
    const table = new RouteTable(routes, () => 0, paths);
    const match = matchHead(table, this.#matched());
    if (table.pathEnd !== this.#head.pathEnd) this.#head.shortenPath(this.bytes, table.pathEnd);
    if (match === null && table.isPathRefused)
      return { route: null, refusal: { status: 400, reason: 'bad-request' }, others: [] };
    const others = routeReasons(routes.slice(0, REASONED), this.#matched(), match?.name ?? null);
    if (match === null) return { route: null, refusal: { status: 404, reason: 'no-route' }, others };
    return { route: routes[match.index], refusal: null, others };
  }

  #matched(): MatchedHead {
    const { hostStart, hostEnd, pathStart, pathEnd, method } = this.#head;
    return { bytes: this.bytes, hostStart, hostEnd, pathStart, pathEnd, method, values: this };
  }

  /** What a scheduler that hashes on this sees; 0 for nothing. */
  hash(on: HashKey): number {
    return hashOfRequest(on, this.#head, this);
  }
}
