import type { HedgeOutcome } from '../endpoint/pool-words.ts';
import type { Reason } from './listener-cells.ts';

/** What an engine tells of an exchange that ended. Read during the call only: the object is reused. Phases are ms, -1 where there was none. */
export interface AccessRecord {
  readonly listenerName: string;
  readonly routeName: string;
  readonly poolName: string;
  /** `address:port` of the last attempt's endpoint, '' when there was none. */
  readonly endpointId: string;
  readonly clientAddress: string;
  readonly methodText: string;
  readonly path: string;
  readonly query: string;
  /** 0 when the client left before there was a response. */
  readonly status: number;
  /** Why evenkeel itself answered or cut; '' when the response is the endpoint's and whole. */
  readonly reason: Reason | 'client-gone' | '';
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly attempts: number;
  /** What became of a second attempt beside a slow first; '' when there was none. */
  readonly hedge: HedgeOutcome | '';
  /** From arrival to the first attempt. */
  readonly queueMs: number;
  /** Dialling, in the last attempt; 0 on a connection that was open. */
  readonly connectMs: number;
  /** From the start of the last attempt to its response head. */
  readonly responseMs: number;
  /** From arrival to the last byte. */
  readonly totalMs: number;
  /** 32 hex digits of a W3C traceparent, '' when there was none. */
  readonly traceId: string;
  /** What routes matched by, where there are such; of Exchange. */
  readonly host?: string;
  header?(name: string): string | null;
  queryValue?(name: string): string | null;
}

/** Takes one record per exchange. Provided by app; null when no access log is kept, so that nothing is paid for it. */
export interface AccessSink {
  record(exchange: AccessRecord): void;
}
