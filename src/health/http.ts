import { type ClientRequest, type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { ConnectionOptions } from 'node:tls';
import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import { OperationError } from '../base/errors.ts';
import { formatHostPort } from '../base/literals.ts';
import { BODY_BYTES, bodyCheck, bodyTest } from './body-check.ts';
import type { Probe, ProbeTarget } from './probe.ts';
import type { ProbeContext } from './probe-context.ts';
import { probeFailure } from './probe-failure.ts';
import { tlsOf } from './probe-tls.ts';

const STATUS_RANGES = /^\d{3}(-\d{3})?(,\d{3}(-\d{3})?)*$/;
/** Visible characters: what a request target may hold without splitting the request line. */
const REQUEST_TARGET = /^\/[\x21-\x7e]*$/;
const FIELD_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Options of `http` and `https`. */
export const httpProbeOptions = z.object({
  path: z
    .string()
    .regex(REQUEST_TARGET, 'a path starts with "/" and has no blanks')
    .prefault('/')
    .describe('what is asked for'),
  method: z.enum(['GET', 'HEAD']).prefault('GET').describe('how it is asked for'),
  port: z.int().min(1).max(65_535).optional().describe("checks this port; default: the endpoint's own"),
  host: z.string().regex(FIELD_VALUE).optional().describe("Host header; default: the endpoint's address and port"),
  headers: z
    .record(z.string().regex(FIELD_NAME), z.string().regex(FIELD_VALUE))
    .prefault({})
    .describe('header fields to send'),
  status: z
    .string()
    .regex(STATUS_RANGES, 'write statuses as 200, 200-399 or 200-299,404')
    .prefault('200-399')
    .describe('statuses that mean fit'),
  body: bodyCheck
    .optional()
    .describe(
      'what the first 64 KiB of the body must hold: a text, or { matches: REGULAR EXPRESSION }; default: anything',
    ),
});
export type HttpProbeOptions = z.output<typeof httpProbeOptions>;

/** Fit is who answers with an expected status and, where one is asked for, body. One connection a check, closed when all that is judged is here. */
export class HttpProbe implements Probe {
  readonly #options: HttpProbeOptions;
  /** Null: in the clear. */
  readonly #secure: ((target: ProbeTarget) => ConnectionOptions) | null;
  readonly #isBodyRight: ((bytes: Buffer) => boolean) | null;
  readonly #statuses: readonly (readonly [number, number])[];

  constructor(settings: HttpProbeOptions, secure: ((target: ProbeTarget) => ConnectionOptions) | null) {
    this.#options = settings;
    this.#secure = secure;
    this.#isBodyRight = settings.body === undefined ? null : bodyTest(settings.body);
    this.#statuses = settings.status.split(',').map((range) => {
      const [first, last = first] = range.split('-').map(Number);
      return [first, last];
    });
  }

  check(target: ProbeTarget, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const request = this.#send(target, signal);
      // Stays after the verdict: a connection that is being destroyed may still report an error.
      request.on('error', (error) => reject(probeFailure(error, signal)));
      const judge = (response: IncomingMessage) => {
        const status = response.statusCode ?? 0;
        response.on('error', (error) => reject(probeFailure(error, signal)));
        const isExpected = this.#isExpected(status);
        if (isExpected && this.#isBodyRight !== null) return this.#judgeBody(request, response, resolve, reject);
        request.destroy();
        if (isExpected) resolve();
        else reject(new OperationError('PROBE_STATUS', `answered ${status}`, { retryable: true }));
      };
      request.once('response', judge);
      request.once('upgrade', judge);
      request.end();
    });
  }

  /** At the end of the body, or of what is looked at of it. */
  #judgeBody(
    request: ClientRequest,
    response: IncomingMessage,
    resolve: () => void,
    reject: (error: Error) => void,
  ): void {
    const isRight = this.#isBodyRight as (bytes: Buffer) => boolean;
    const pieces: Buffer[] = [];
    let length = 0;
    const end = () => {
      request.destroy();
      if (isRight(Buffer.concat(pieces, Math.min(length, BODY_BYTES)))) resolve();
      else reject(new OperationError('PROBE_BODY', 'the body is not as expected', { retryable: true }));
    };
    response.on('data', (bytes: Buffer) => {
      pieces.push(bytes);
      length += bytes.length;
      if (length >= BODY_BYTES) end();
    });
    response.once('end', end);
  }

  #send(target: ProbeTarget, signal: AbortSignal): ClientRequest {
    const { path, method, headers, host } = this.#options;
    const port = this.#options.port ?? target.port;
    const base: RequestOptions = {
      host: target.host,
      port,
      path,
      method,
      signal,
      agent: false,
      headers: {
        'user-agent': 'evenkeel-probe',
        ...lowerCased(headers),
        host: host ?? formatHostPort(target.host, port),
        connection: 'close',
      },
    };
    return this.#secure === null ? requestHttp(base) : requestHttps({ ...base, ...this.#secure(target) });
  }

  #isExpected(status: number): boolean {
    return this.#statuses.some(([first, last]) => status >= first && status <= last);
  }
}

function lowerCased(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

export const http: Kind<Probe, ProbeContext> = {
  kind: 'http',
  summary: 'sends a request and looks at the status',
  options: httpProbeOptions,
  create: (settings: HttpProbeOptions, { tls }) => new HttpProbe(settings, tls === null ? null : tlsOf(tls)),
};
