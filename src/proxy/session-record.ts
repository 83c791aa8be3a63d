import type { Reason } from './listener-cells.ts';

/**
 * What an engine below HTTP tells of a session that ended: a TCP connection, or what one UDP client and one endpoint said to each other. Read during
 * the call only. Phases are ms, -1 where there was none.
 */
export interface SessionRecord {
  readonly protocol: 'tcp' | 'udp';
  readonly listenerName: string;
  readonly routeName: string;
  readonly poolName: string;
  /** `address:port` of the last attempt's endpoint, '' when there was none. */
  readonly endpointId: string;
  readonly clientAddress: string;
  /** The name a TLS client asked for, '' when it was not looked at or named none. */
  readonly serverName: string;
  /** Why evenkeel refused or cut, or how a side failed; '' when both sides ended as they wished. */
  readonly reason: Reason | 'client-gone' | '';
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly attempts: number;
  /** From arrival to the first attempt. */
  readonly queueMs: number;
  /** Dialling, in the last attempt. */
  readonly connectMs: number;
  /** Dialling, and from what the client said first to the endpoint's first byte. */
  readonly responseMs: number;
  readonly totalMs: number;
}

/** Takes one record per session. Provided by app; null when no access log is kept. */
export interface SessionSink {
  recordSession(session: SessionRecord): void;
}
