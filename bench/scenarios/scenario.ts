import type { Behaviour, EndpointCommand } from './behaviour.ts';

/** What every proxy is told about a scenario, in its own words. */
export interface PoolSetting {
  /** `address:port` of those that serve from the start. */
  readonly addresses: readonly string[];
  /** Those that join later, by `Subject.join`. */
  readonly joining: readonly string[];
  /** Requests in flight per endpoint, and how long one may wait for a place; null: no limit. */
  readonly limit: { readonly active: number; readonly queue: number; readonly queueMs: number } | null;
  /** Over this time a newcomer grows to its full share, where the proxy can do that; 0: at once. */
  readonly slowStartSeconds: number;
}

/** What must hold in a window for evenkeel's own `response-time`. */
export interface Target {
  readonly p99Ms?: number;
  readonly p999Ms?: number;
  readonly errors?: number;
  /** Share of the attempts at the endpoints in question. */
  readonly share?: number;
  readonly fairAgainMs?: number;
  /** Part of the endpoints' capacity that is answered well. */
  readonly goodput?: number;
  /** p99 and p99.9 are no worse than the lowest p99 and the p99.9 of any other proxy, but for noise. */
  readonly asBestPeer?: boolean;
}

/** A stretch of a scenario's time that makes one row of the table. Times are ms since the load began. */
export interface Window {
  readonly name: string;
  readonly title: string;
  readonly fromMs: number;
  readonly toMs: number;
  /** Endpoints whose share of the attempts is shown; empty: none stand out. */
  readonly marked: readonly number[];
  /** Requests a second that the endpoints can serve; 0: more than is asked. Where it is not 0, refusals are no errors and latency is that of good answers. */
  readonly capacity: number;
  /** Whether it is timed how long it takes until the marked ones have their fair share. */
  readonly timesFairness: boolean;
  readonly target: Target;
  readonly hedgedTarget: Target;
}

/** Something that happens to the endpoints, or `join`: the proxy learns of those that join. */
export interface Act {
  readonly atMs: number;
  readonly act: EndpointCommand | 'join';
}

export interface Scenario {
  readonly name: string;
  readonly title: string;
  /** How each endpoint serves at the start; the last `joining` of them are not in the pool yet. */
  readonly endpoints: readonly Behaviour[];
  readonly joining: number;
  readonly limit: PoolSetting['limit'];
  readonly slowStartSeconds: number;
  readonly rate: number;
  readonly seconds: number;
  /** Part of the packets lost on the way to the endpoints and back. */
  readonly packetLoss: number;
  readonly acts: readonly Act[];
  readonly windows: readonly Window[];
}
