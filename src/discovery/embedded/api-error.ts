/** An answer other than 200, thrown by whatever finds it out while a request is handled; the router sends `message` as plain text. */
export class ApiError extends Error {
  readonly status: number;
  /** Consul puts its index headers (index 1, no known leader) on errors that its servers answer rather than its agents. */
  readonly fromServer: boolean;

  constructor(status: number, message: string, fromServer = false) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.fromServer = fromServer;
  }
}
