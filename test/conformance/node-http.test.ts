import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ChunkedReader, ChunkedStatus } from '../../src/wire/http1/chunked-reader.ts';
import { BODIES } from './chunked-bodies.ts';
import { LIMITS, type RequestView, viewRequest } from './messages.ts';
import { REQUESTS } from './requests.ts';

/**
 * Another parser reads the same bytes: Node's, strict as it comes. What we accept it must accept, with the same parts, the same body and
 * the next request at the same place: that is what smuggling would break.
 */

/** Mutants in one run; raise it for a hunt: EVENKEEL_FUZZ=100000. */
const RUNS = Number(process.env.EVENKEEL_FUZZ ?? 1500);
const SENTINEL = 'GET /sentinel HTTP/1.1\r\nHost: sentinel\r\n\r\n';
const BODY_LIMITS = { extensionBytes: 1000, trailerBytes: 1000, trailers: 20 };

/** A request as a server saw it. */
interface Seen {
  readonly method: string;
  readonly target: string;
  readonly lines: readonly string[];
  readonly body: string;
}
interface Heard {
  readonly seen: Seen[];
  error: string;
}

let server: Server;
let heard: Heard;

beforeAll(async () => {
  server = createServer({ requireHostHeader: false, joinDuplicateHeaders: false, keepAliveTimeout: 0 });
  const take = (request: IncomingMessage, response: ServerResponse) => {
    const pieces: Buffer[] = [];
    const mine = heard;
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const { method, url, rawHeaders } = request;
      mine.seen.push({
        method: `${method}`,
        target: `${url}`,
        lines: rawHeaders,
        body: Buffer.concat(pieces).toString('latin1'),
      });
      response.end();
    });
  };
  server.on('request', take);
  server.on('checkContinue', take);
  server.on('checkExpectation', take);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    heard.error = `${error.code}: ${error.message}`;
    socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

/** What the server makes of the bytes on a connection of their own. */
async function hear(bytes: Buffer): Promise<Heard> {
  heard = { seen: [], error: '' };
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.on('error', () => {});
  socket.resume();
  socket.end(bytes);
  await once(socket, 'close');
  return heard;
}

/** What we make of a whole request, head and body; null when we do not take it, or when it is one the other parser takes no part in. */
function ours(bytes: Buffer): { seen: Seen; end: number; view: RequestView } | null {
  const view = viewRequest(bytes, [bytes.length], { ...LIMITS, headers: 100 });
  if (view.outcome !== 'complete') return null;
  let body = '';
  let end = view.end + Math.max(0, view.contentLength);
  if (end > bytes.length) return null;
  if (view.chunked) {
    const reader = new ChunkedReader(BODY_LIMITS);
    const sink = {
      onChunkData(buf: Buffer, from: number, to: number) {
        body += buf.toString('latin1', from, to);
      },
    };
    end = reader.read(bytes, view.end, bytes.length, sink);
    if (reader.status !== ChunkedStatus.DONE) return null;
  } else {
    body = bytes.toString('latin1', view.end, end);
  }
  const lines = view.lines.flatMap(([name, value]) => [name, value] as string[]);
  return { seen: { method: view.method, target: view.target, lines, body }, end, view };
}

/**
 * Where the other parser knows less than we do or leaves HTTP: methods outside of its list, tunnels, and trailers that it obeys as if they
 * were headers while we drop them.
 */
function isOutside({ view, end }: { view: RequestView; end: number }, bytes: Buffer): boolean {
  const obeyed = /\n(content-length|transfer-encoding|connection|proxy-connection|upgrade) *:/i;
  if (view.chunked && obeyed.test(bytes.toString('latin1', view.end, end))) return true;
  const known = /^(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS|TRACE|PROPFIND|M-SEARCH)$/;
  return !known.test(view.method) || view.upgrade;
}

async function compare(message: Buffer): Promise<'agreed' | 'refused' | 'outside'> {
  const mine = ours(message);
  if (mine === null) return 'refused';
  if (isOutside(mine, message)) return 'outside';
  const whole = Buffer.concat([message.subarray(0, mine.end), Buffer.from(SENTINEL)]);
  const { seen, error } = await hear(whole);
  const text = JSON.stringify(message.toString('latin1'));
  expect(seen[0], `${text} ${error}`).toEqual(mine.seen);
  // The bytes behind a request that ends the connection are an error there: that, too, shows where it ended.
  if (!mine.view.keepAlive) expect(error, text).toMatch(/^(HPE_CLOSED_CONNECTION|$)/);
  else expect({ error, next: seen[1]?.target }, text).toEqual({ error: '', next: '/sentinel' });
  return 'agreed';
}

const withBody = (text: string) => (/content-length: *5/i.test(text) ? `${text}12345` : `${text}3\r\nabc\r\n0\r\n\r\n`);
const CHUNKED_HEAD = 'POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
const SEEDS = [
  ...REQUESTS.filter((one) => one.bytes.length < 1200).map((one) => withBody(one.bytes)),
  ...BODIES.map((one) => CHUNKED_HEAD + one.bytes),
];

describe("node's parser", () => {
  it('reads every request of the corpora that we accept as we do', async () => {
    const tally = { agreed: 0, refused: 0, outside: 0 };
    for (const text of SEEDS) tally[await compare(Buffer.from(text, 'latin1'))]++;
    expect(tally.agreed).toBeGreaterThan(120);
  });

  it('reads every mutant that we accept as we do', async () => {
    const pieces = [
      '\r',
      '\n',
      '\r\n',
      ' ',
      '\t',
      ':',
      ',',
      ';',
      '=',
      '"',
      '\0',
      '\x7f',
      '\xff',
      '0',
      '1',
      'a',
      'f',
      '/',
      '?',
      '*',
      'x: y\r\n',
    ];
    const lines = [
      'Content-Length: 5\r\n',
      'Transfer-Encoding: chunked\r\n',
      'Connection: close\r\n',
      'Expect: 100-continue\r\n',
      'Trailer: a\r\n',
    ];
    const edit = fc.record({ at: fc.nat(), cut: fc.nat(2), put: fc.constantFrom('', ...pieces, ...lines) });
    const mutant = fc
      .tuple(fc.constantFrom(...SEEDS), fc.array(edit, { minLength: 1, maxLength: 3 }))
      .map(([seed, edits]) => {
        let text = seed;
        for (const { at, cut, put } of edits) {
          const place = at % (text.length + 1);
          text = text.slice(0, place) + put + text.slice(place + cut);
        }
        return text;
      });
    let agreed = 0;
    const check = async (text: string) => {
      if ((await compare(Buffer.from(text, 'latin1'))) === 'agreed') agreed++;
    };
    await fc.assert(fc.asyncProperty(mutant, check), { numRuns: RUNS });
    expect(agreed).toBeGreaterThan(RUNS / 20);
  }, 3_600_000);
});
