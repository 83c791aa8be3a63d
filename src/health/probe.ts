/** Where a probe goes. */
export interface ProbeTarget {
  /** Numeric address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** The endpoint's. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * An active check of one endpoint. Resolves when the endpoint is fit, rejects with an OperationError that says why it is not.
 * Never outlives `signal`; keeps no connection and no timer afterwards.
 */
export interface Probe {
  check(target: ProbeTarget, signal: AbortSignal): Promise<void>;
}
