/** One request that a load generator sends again and again. */
export interface RequestShape {
  readonly path: string;
  /** Name and value; Host is added by the generator. */
  readonly headers: readonly (readonly [string, string])[];
  /** Bytes of a POST body; 0 is a GET. */
  readonly bodyBytes: number;
  /** Sends the body in chunks instead of with its length. */
  readonly chunked: boolean;
}

/** What a closed loop of connections saw: each sends its next request when the last one is answered. */
export interface LoadResult {
  /** Requests that were answered, well or not. */
  readonly requests: number;
  /** Responses that were no 2xx or 3xx, and connections that failed. */
  readonly errors: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface LoadOptions {
  readonly port: number;
  readonly secure: boolean;
  readonly connections: number;
  readonly seconds: number;
  readonly shape: RequestShape;
  /** For files of the generator's. */
  readonly directory: string;
}

/** A program that makes load. */
export interface LoadGenerator {
  readonly name: string;
  /** Why it cannot send this, or null. */
  readonly cannot: (shape: RequestShape) => string | null;
  readonly run: (options: LoadOptions) => Promise<LoadResult>;
}

/** A GET, by default without headers of its own. */
export function get(path: string, headers: RequestShape['headers'] = []): RequestShape {
  return { path, headers, bodyBytes: 0, chunked: false };
}
