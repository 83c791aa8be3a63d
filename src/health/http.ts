import { type ClientRequest, type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import { OperationError } from '../base/errors.ts';
import { formatHostPort } from '../base/literals.ts';
import type { Probe, ProbeTarget } from './probe.ts';
import type { ProbeContext } from './probe-context.ts';
import { probeFailure } from './probe-failure.ts';

const STATUS_RANGES = /^\d{3}(-\d{3})?(,\d{3}(-\d{3})?)*$/;
/** Visible characters: what a request target may hold without splitting the request line. */
const REQUEST_TARGET = /^\/[\x21-\x7e]*$/;
const FIELD_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

const options = z.object({
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
});
type HttpProbeOptions = z.output<typeof options>;

/** Fit is who answers with an expected status. One connection a check, closed when the head is here: the body is not waited for. */
class HttpProbe implements Probe {
  readonly #options: HttpProbeOptions;
  readonly #context: ProbeContext;
  readonly #statuses: readonly (readonly [number, number])[];

  constructor(settings: HttpProbeOptions, context: ProbeContext) {
    this.#options = settings;
    this.#context = context;
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
        response.on('error', () => {});
        request.destroy();
        if (this.#isExpected(status)) resolve();
        else reject(new OperationError('PROBE_STATUS', `answered ${status}`, { retryable: true }));
      };
      request.once('response', judge);
      request.once('upgrade', judge);
      request.end();
    });
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
    const { tls } = this.#context;
    return tls === null ? requestHttp(base) : requestHttps({ ...base, ...tls(target) });
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
  options,
  create: (settings: HttpProbeOptions, context) => new HttpProbe(settings, context),
};
