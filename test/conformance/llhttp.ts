import { createRequire } from 'node:module';
import { ChunkedReader, ChunkedStatus } from '../../src/wire/http1/chunked-reader.ts';
import { LIMITS, type RequestView, type ResponseView, viewRequest, viewResponse } from './messages.ts';

/** What a message came to: the same words for our reader and for the other one. */
export interface Heard {
  /** `POST /a` or `200 OK`. */
  readonly first: string;
  /** Name, value, name, value. */
  readonly lines: readonly string[];
  readonly body: string;
}

/** A message that our reader takes whole. */
export interface Taken {
  readonly heard: Heard;
  /** Where the next message begins. */
  readonly end: number;
  readonly view: RequestView | ResponseView;
}

export const SENTINELS = {
  request: Buffer.from('GET /sentinel HTTP/1.1\r\nHost: sentinel\r\n\r\n'),
  response: Buffer.from('HTTP/1.1 299 Sentinel\r\nContent-Length: 0\r\n\r\n'),
};
const LIMITS_WIDE = { ...LIMITS, headers: 100 };
const BODY_LIMITS = { extensionBytes: 1000, trailerBytes: 1000, trailers: 20 };

/** What our reader makes of a message, head and body; null when it does not take it or wants more. */
export function ours(kind: 'request' | 'response', bytes: Buffer): Taken | null {
  const view =
    kind === 'request'
      ? viewRequest(bytes, [bytes.length], LIMITS_WIDE)
      : viewResponse(bytes, [bytes.length], LIMITS_WIDE);
  if (view.outcome !== 'complete') return null;
  const found = bodyOf(bytes, view);
  if (found === null) return null;
  const lines = view.lines.flatMap(([name, value]) => [name, value] as string[]);
  const first = 'method' in view ? `${view.method} ${view.target}` : `${view.status} ${view.reason}`;
  return { heard: { first, lines, body: found.body }, end: found.end, view };
}

function bodyOf(bytes: Buffer, view: RequestView | ResponseView): { body: string; end: number } | null {
  if ('status' in view && (view.status < 200 || view.status === 204 || view.status === 304))
    return { body: '', end: view.end };
  if (view.chunked) {
    let body = '';
    const reader = new ChunkedReader(BODY_LIMITS);
    const sink = {
      onChunkData(buf: Buffer, from: number, to: number) {
        body += buf.toString('latin1', from, to);
      },
    };
    const end = reader.read(bytes, view.end, bytes.length, sink);
    return reader.status === ChunkedStatus.DONE ? { body, end } : null;
  }
  // Until the end of the connection: whatever is there.
  const length = 'status' in view && view.contentLength < 0 ? bytes.length - view.end : Math.max(0, view.contentLength);
  const end = view.end + length;
  return end > bytes.length ? null : { body: bytes.toString('latin1', view.end, end), end };
}

/**
 * Where the other parser knows less than we do or leaves HTTP: methods outside of its list, protocol switches, and trailers that it obeys as
 * if they were headers while we drop them.
 */
export function isOutside({ view, end }: Taken, bytes: Buffer): boolean {
  const obeyed = /\n(content-length|transfer-encoding|connection|proxy-connection|upgrade) *:/i;
  if (view.chunked && obeyed.test(bytes.toString('latin1', view.end, end))) return true;
  if (view.upgrade || ('status' in view && view.status === 101)) return true;
  return 'method' in view && !/^(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS|TRACE|PROPFIND|M-SEARCH)$/.test(view.method);
}

/** Node's binding to llhttp, by which a million messages take a minute and not an hour; no documented way leads to the parser alone. */
interface Parser {
  initialize(type: number, resource: object, maxHeaderSize: number, lenientFlags: number): void;
  execute(bytes: Buffer): number | Error;
  finish(): undefined | Error;
  close(): void;
  [callback: number]: unknown;
}
interface ParserClass {
  new (): Parser;
  readonly REQUEST: number;
  readonly RESPONSE: number;
  readonly kOnHeaders: number;
  readonly kOnHeadersComplete: number;
  readonly kOnBody: number;
  readonly kOnMessageComplete: number;
  readonly kLenientNone: number;
}
const { HTTPParser, methods } = createRequire(import.meta.url)('_http_common') as {
  HTTPParser: ParserClass;
  methods: readonly string[];
};

/** What llhttp in strict mode makes of the bytes: whole messages in their order, and its error, '' when it has none. */
export function theirs(kind: 'request' | 'response', bytes: Buffer): { heard: Heard[]; error: string } {
  const parser = new HTTPParser();
  const heard: Heard[] = [];
  let lines: string[] = [];
  let first = '';
  let body = '';
  let target = '';
  // The first of many lines, and the target with them; trailers, too.
  parser[HTTPParser.kOnHeaders] = (more: string[], url: string) => {
    lines.push(...more);
    target += url;
  };
  parser[HTTPParser.kOnHeadersComplete] = (...args: unknown[]) => {
    const [, , headers, method, url, status, reason] = args as [0, 0, string[], number, string, number, string];
    if (headers !== undefined) lines.push(...headers);
    first = kind === 'request' ? `${methods[method]} ${url ?? target}` : `${status} ${reason}`;
    return 0;
  };
  parser[HTTPParser.kOnBody] = (piece: Buffer) => {
    body += piece.toString('latin1');
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    heard.push({ first, lines, body });
    lines = [];
    target = '';
    body = '';
  };
  parser.initialize(
    kind === 'request' ? HTTPParser.REQUEST : HTTPParser.RESPONSE,
    {},
    64 * 1024,
    HTTPParser.kLenientNone,
  );
  const result = parser.execute(bytes);
  const end = typeof result === 'number' ? parser.finish() : result;
  parser.close();
  return { heard, error: end instanceof Error ? `${(end as NodeJS.ErrnoException).code}` : '' };
}

/** How the two differ, '' when they do not: what we take, llhttp takes with the same parts and the same end. */
export function difference(
  kind: 'request' | 'response',
  bytes: Buffer,
): { what: string; was: 'agreed' | 'refused' | 'outside' } {
  const mine = ours(kind, bytes);
  if (mine === null) return { what: '', was: 'refused' };
  if (isOutside(mine, bytes)) return { what: '', was: 'outside' };
  const isFramed = mine.view.chunked || mine.view.contentLength >= 0 || kind === 'request' || isBodiless(mine.view);
  const whole = Buffer.concat([bytes.subarray(0, mine.end), isFramed ? SENTINELS[kind] : Buffer.alloc(0)]);
  const { heard, error } = theirs(kind, whole);
  // Trailers stand behind the lines of the head there; here they are the body reader's.
  const told = heard[0] === undefined ? null : { ...heard[0], lines: heard[0].lines.slice(0, mine.heard.lines.length) };
  if (JSON.stringify(told) !== JSON.stringify(mine.heard))
    return { what: `they: ${error} ${JSON.stringify(told)}\nwe: ${JSON.stringify(mine.heard)}`, was: 'agreed' };
  // Behind a message that ends the connection bytes are an error there: that, too, shows where it ended.
  const isNextRead = heard[1]?.first.includes('entinel') === true && error === '';
  if (isFramed && mine.view.keepAlive ? !isNextRead : !/^(HPE_CLOSED_CONNECTION|)$/.test(error))
    return { what: `they: ${error}, then ${JSON.stringify(heard[1])}`, was: 'agreed' };
  return { what: '', was: 'agreed' };
}

function isBodiless(view: RequestView | ResponseView): boolean {
  return 'status' in view && (view.status < 200 || view.status === 204 || view.status === 304);
}
