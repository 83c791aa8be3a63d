import type { Reason } from '../listener-cells.ts';

const REASON_PHRASES: Readonly<Record<number, string>> = {
  200: 'OK',
  204: 'No Content',
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  304: 'Not Modified',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  413: 'Content Too Large',
  414: 'URI Too Long',
  417: 'Expectation Failed',
  421: 'Misdirected Request',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
  508: 'Loop Detected',
};

/** What the plain-text body says for each reason; the same words for everybody, nothing of the inside. */
const SENTENCES: Readonly<Record<Reason, string>> = {
  'no-endpoint': 'no endpoint is available',
  'no-route': 'nothing is served here',
  'connect-failed': 'no endpoint could be reached',
  'connect-timeout': 'no endpoint could be reached in time',
  'response-timeout': 'the endpoint did not answer in time',
  'request-timeout': 'the request could not be answered in time',
  reset: 'the endpoint closed the connection',
  'bad-response': 'the endpoint sent an answer that is not valid HTTP',
  limit: 'a limit is reached',
  'pending-timeout': 'no endpoint had room in time',
  'bad-request': 'the request is not valid HTTP',
  'head-timeout': 'the request head did not arrive in time',
  'body-timeout': 'the request body did not arrive in time',
  'body-too-large': 'the request body is too large',
  'head-too-large': 'the request head is too large',
  'uri-too-long': 'the request target is too long',
  'not-implemented': 'this is not implemented',
  'version-not-supported': 'this HTTP version is not supported',
  misdirected: 'this host is not served on this connection',
  connections: 'too many connections',
  draining: 'shutting down',
  middleware: 'the request was refused',
  internal: 'an error happened here',
  'tls-handshake': 'no secure connection came about',
  loop: 'this request has been here before',
  'idle-timeout': 'nothing was said for too long',
  age: 'the connection was too old',
  removed: 'the endpoint is gone',
  'proxy-protocol': 'who forwards the connection did not say for whom',
};

export interface AnswerOptions {
  readonly status: number;
  readonly reason: Reason | null;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly head: boolean;
  readonly close: boolean;
  readonly keepAliveHttp10: boolean;
}

/** RFC 9110 §8.6, §15.4.5: no body, so no length of one either. */
const BODILESS: ReadonlySet<number> = new Set([204, 304]);

/** A whole response of evenkeel itself. Not on the path of requests that an endpoint answers. */
export function formatAnswer(options: AnswerOptions): Buffer {
  const { status, reason } = options;
  const isBodiless = BODILESS.has(status);
  const body = options.body ?? `${status} ${reason === null ? '' : SENTENCES[reason]}\n`;
  const bytes = Buffer.from(body);
  let head = `HTTP/1.1 ${status} ${REASON_PHRASES[status] ?? ''}\r\ndate: ${new Date().toUTCString()}\r\n`;
  if (!isBodiless && options.headers?.['content-type'] === undefined)
    head += 'content-type: text/plain; charset=utf-8\r\n';
  if (!isBodiless) head += `content-length: ${bytes.length}\r\n`;
  if (reason !== null) head += `x-evenkeel-reason: ${reason}\r\n`;
  if (
    options.headers?.['retry-after'] === undefined &&
    status === 503 &&
    (reason === 'limit' || reason === 'pending-timeout' || reason === 'connections')
  )
    head += 'retry-after: 1\r\n';
  for (const [name, value] of Object.entries(options.headers ?? {})) head += `${name}: ${value}\r\n`;
  if (options.close) head += 'connection: close\r\n';
  else if (options.keepAliveHttp10) head += 'connection: keep-alive\r\n';
  const headBytes = Buffer.from(`${head}\r\n`, 'latin1');
  return options.head || isBodiless ? headBytes : Buffer.concat([headBytes, bytes]);
}
