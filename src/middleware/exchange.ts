/** What a stage says of the exchange it was shown. After WAIT the exchange goes on at `exchange.resume()`. */
export const Verdict = { CONTINUE: 0, ANSWERED: 1, WAIT: 2 } as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/** One request and its response, as middleware sees them. Valid until `onEnd` returns; the object is reused for the next request. */
export interface Exchange {
  /** As the client wrote it. */
  readonly methodText: string;
  /** Effective host without port, lower case; '' when an HTTP/1.0 request has none. */
  readonly host: string;
  /** Path without the query, as received. */
  readonly path: string;
  /** Query without '?'; '' when there is none. */
  readonly query: string;
  /** Address of the client: the peer's, or what a trusted peer said. */
  readonly clientAddress: string;
  /** Whether the client came over TLS. */
  readonly secure: boolean;
  /** First value of a request header, or null. `name` in lower case. */
  header(name: string): string | null;
  /** Replaces every line of this name in what is forwarded; null removes them. `name` in lower case. */
  setRequestHeader(name: string, value: string | null): void;
  /** Replaces every line of this name in what the client gets; null removes them. `name` in lower case. */
  setResponseHeader(name: string, value: string | null): void;
  /** Status of the response, 0 before there is one. */
  readonly status: number;
  /** Answers in place of an endpoint; only from `onRequest`, which then returns ANSWERED. */
  answer(status: number, body: string, headers?: Readonly<Record<string, string>>): typeof Verdict.ANSWERED;
  /**
   * Goes on after WAIT. Called once, from any later turn; ignored when the client has left, or was answered 504: all stages together have as long
   * as the pool's `request` timeout gives the request, a minute where that is off.
   */
  resume(): void;
}

/** A part of a route that may look at, change or answer an exchange. One object per route and worker; stages run in the document's order. */
export interface Middleware {
  onRequest?(exchange: Exchange): Verdict;
  /** The endpoint's response head is here and not yet sent on. Not called for answers of evenkeel itself. */
  onResponse?(exchange: Exchange): void;
  /** The exchange is over, however it ended. */
  onEnd?(exchange: Exchange): void;
}

/** What a middleware is made with. */
export interface MiddlewareContext {
  readonly route: string;
}
