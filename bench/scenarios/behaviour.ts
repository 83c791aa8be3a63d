/** How an endpoint serves. Service times are exponentially distributed. */
export interface Behaviour {
  /** Mean time of service; 0 answers at once. */
  readonly meanMs: number;
  /** Requests served at once, the others wait in line; 0 is no limit. */
  readonly parallel: number;
  /** `silence` accepts and never answers; `error` answers 500 after exactly `meanMs`. */
  readonly answers: 'ok' | 'error' | 'silence';
  /** Its first requests take up to ten times as long; it has warmed up by half after this many. 0: it is warm. */
  readonly coldRequests: number;
}

export const healthy: Behaviour = { meanMs: 4, parallel: 0, answers: 'ok', coldRequests: 0 };
export const instant: Behaviour = { ...healthy, meanMs: 0 };

/**
 * `up` serves. `killed` resets every connection and refuses new ones. `restarting` refuses new connections, ends idle ones, and the others after their answer, as
 * a program that is told to stop.
 */
export type State = 'up' | 'killed' | 'restarting';

/** What the program that holds the endpoints is told, one JSON line each; it answers each with a line. */
export type EndpointCommand =
  | { readonly act: 'behave'; readonly indexes: readonly number[]; readonly behaviour: Behaviour }
  | { readonly act: 'become'; readonly indexes: readonly number[]; readonly state: State }
  | { readonly act: 'report' };

/** Width of the bins in which arrivals are counted. */
export const BIN_MS = 100;

export interface EndpointReport {
  /** Monotonic time at which the first bin begins. */
  readonly sinceMs: number;
  /** Requests that arrived, by endpoint and bin of BIN_MS; a bin in which nothing came may be missing (null). */
  readonly arrivals: readonly (readonly (number | null)[])[];
  /** How late answers left, against when they were due. */
  readonly latenessP99Ms: number;
}
