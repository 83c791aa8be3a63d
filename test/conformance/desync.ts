/**
 * What one attack sends and what may come of it. The endpoint must see exactly these requests, framed as said, or none; the client must get
 * exactly these statuses, in order, and then the end where `closes`.
 */
export interface Desync {
  readonly family: string;
  readonly name: string;
  readonly bytes: string;
  /** `METHOD target body` of each request as it reaches the endpoint. */
  readonly seen: readonly string[];
  readonly statuses: readonly number[];
  /** The message is sound, so the connection goes on although it was refused. */
  readonly goesOn?: true;
  /** Header names that must not reach the endpoint. */
  readonly without?: readonly string[];
}

/** What an attacker hides: it must never be a request of its own to the endpoint. */
const HIDDEN = 'GET /hidden HTTP/1.1\r\nHost: story\r\n\r\n';
const HEAD = 'POST /first HTTP/1.1\r\nHost: story\r\n';

const refused = (family: string, name: string, bytes: string, status = 400): Desync => ({
  family,
  name,
  bytes,
  seen: [],
  statuses: [status],
});
/** A head that must be refused, with chunks and a hidden request behind it. */
const head = (family: string, lines: string, status = 400): Desync =>
  refused(family, JSON.stringify(lines), `${HEAD}${lines}\r\n\r\n0\r\n\r\n${HIDDEN}`, status);
/** A chunked body that must be refused. Its head may have gone out, but the endpoint never sees it end. */
const chunks = (text: string): Desync =>
  refused('chunk sizes', JSON.stringify(text), `${HEAD}Transfer-Encoding: chunked\r\n\r\n${text}${HIDDEN}`);

const OBFUSCATED = [
  'Transfer-Encoding: xchunked',
  'Transfer-Encoding : chunked',
  'Transfer-Encoding: chunked\r\nTransfer-Encoding: x',
  'Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding: chunked\r\nTransfer-encoding: cow',
  'Transfer-Encoding:\x0bchunked',
  'Transfer-Encoding: \x0bchunked',
  'Transfer-Encoding: chunked\x0b',
  'Transfer-Encoding:\x00chunked',
  'Transfer-Encoding: "chunked"',
  'Transfer-Encoding: chunked;q=1',
  'Transfer-Encoding: chunked, chunked',
  'Transfer-Encoding: , chunked',
  'Transfer-Encoding:',
  'Transfer-Encoding: chunk',
  'X: y\rTransfer-Encoding: chunked',
  'X: y\nTransfer-Encoding: chunked',
  ' Transfer-Encoding: chunked',
  'X: y\r\n Transfer-Encoding: chunked',
  'Transfer-Encoding\r\n : chunked',
  'Transfer-Encoding:\r\n chunked',
  'Transfer\x00-Encoding: chunked',
  'Transfer-Encoding\t: chunked',
  'Transfer-Encoding: chunked\t',
  'Transfer-\xc9ncoding: chunked',
];

const LENGTHS = [
  '+5',
  '-5',
  '5, 5',
  '5,6',
  '5 5',
  '0x5',
  '5.0',
  '5e0',
  '',
  ',5',
  '5,',
  '"5"',
  '\x0b5',
  '99999999999999999999',
  '18446744073709551621',
  '5;a',
  '٥',
];

export const DESYNCS: readonly Desync[] = [
  refused(
    'CL.TE',
    'Content-Length first',
    `${HEAD}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG${HIDDEN}`,
  ),
  refused(
    'TE.CL',
    'Transfer-Encoding first',
    `${HEAD}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n${HIDDEN}\r\n0\r\n\r\n`,
  ),
  refused(
    'CL.TE',
    'with a length of 0',
    `${HEAD}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${HIDDEN}`,
  ),
  ...OBFUSCATED.map((lines) => head('TE.TE', lines)),
  head('TE.TE', 'Transfer-Encoding: gzip, chunked', 501),
  ...LENGTHS.map((value) =>
    refused('Content-Length', JSON.stringify(value), `${HEAD}Content-Length: ${value}\r\n\r\n12345${HIDDEN}`),
  ),
  refused('Content-Length', 'twice, the same', `${HEAD}Content-Length: 5\r\nContent-Length: 5\r\n\r\n12345${HIDDEN}`),
  refused(
    'Content-Length',
    'twice, not the same',
    `${HEAD}Content-Length: 5\r\nContent-Length: 0\r\n\r\n12345${HIDDEN}`,
  ),
  refused('Content-Length', 'a space before the colon', `${HEAD}Content-Length : 5\r\n\r\n12345${HIDDEN}`),
  {
    family: 'Content-Length',
    name: 'spelt with an underscore counts for nothing and goes no further',
    bytes: `${HEAD}Content_Length: 38\r\n\r\nGET /second HTTP/1.1\r\nHost: story\r\n\r\n`,
    seen: ['POST /first ', 'GET /second '],
    statuses: [200, 200],
    without: ['content_length', 'content-length'],
  },
  {
    family: 'TE.TE',
    name: 'spelt with an underscore counts for nothing and goes no further',
    bytes: `${HEAD}Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`,
    seen: ['POST /first 0\r\n\r\n'],
    statuses: [200],
    without: ['transfer_encoding', 'transfer-encoding'],
  },
  {
    family: 'CL.0',
    name: 'a body that looks like a request stays a body',
    bytes: `${HEAD}Content-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}GET /second HTTP/1.1\r\nHost: story\r\n\r\n`,
    seen: [`POST /first ${HIDDEN}`, 'GET /second '],
    statuses: [200, 200],
  },
  {
    family: 'CL.0',
    name: 'of GET too',
    bytes: `GET /first HTTP/1.1\r\nHost: story\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`,
    seen: [`GET /first ${HIDDEN}`],
    statuses: [200],
  },
  {
    family: '0.CL',
    name: 'no length, no body: what follows is the next request',
    bytes: `${HEAD}\r\nGET /second HTTP/1.1\r\nHost: story\r\n\r\n`,
    seen: ['POST /first ', 'GET /second '],
    statuses: [200, 200],
  },
  {
    family: '0.CL',
    name: 'a folded length is refused',
    bytes: `${HEAD}Content-Length:\r\n 5\r\n\r\n12345${HIDDEN}`,
    seen: [],
    statuses: [400],
  },
  ...[
    '-1\r\nx\r\n0\r\n\r\n',
    '+1\r\nx\r\n0\r\n\r\n',
    '0x1\r\nx\r\n0\r\n\r\n',
    ' 1\r\nx\r\n0\r\n\r\n',
    '1 \r\nx\r\n0\r\n\r\n',
    '1\t\r\nx\r\n0\r\n\r\n',
    '1\nx\r\n0\r\n\r\n',
    '1\r\nx\n0\r\n\r\n',
    '1\r\nxx\r\n0\r\n\r\n',
    '1\r\nx0\r\n\r\n',
    '1\rx\r\n0\r\n\r\n',
    '1;\nx\r\n0\r\n\r\n',
    '1;a\nx\r\n0\r\n\r\n',
    '1; a="\n"\r\nx\r\n0\r\n\r\n',
    '1;a=b\r\r\nx\r\n0\r\n\r\n',
    '10000000000000001\r\nx\r\n0\r\n\r\n',
    'ffffffffffffffff\r\nx\r\n0\r\n\r\n',
    '1_0\r\nx\r\n0\r\n\r\n',
    '1,\r\nx\r\n0\r\n\r\n',
    '\r\n1\r\nx\r\n0\r\n\r\n',
    'g\r\nx\r\n0\r\n\r\n',
    '0\n\n',
    '0\r\n\n',
    '0\r\nX: y\n\r\n',
    '0\r\n X: y\r\n\r\n',
    '0\r\nX : y\r\n\r\n',
    '0\r\n: y\r\n\r\n',
  ].map(chunks),
  refused('bare LF', 'everywhere', 'GET /first HTTP/1.1\nHost: story\n\n'),
  refused('bare LF', 'at the end of a line', 'GET /first HTTP/1.1\r\nHost: story\nX: y\r\n\r\n'),
  refused('bare LF', 'at the end of the head', `GET /first HTTP/1.1\r\nHost: story\r\n\n${HIDDEN}`),
  refused('bare LF', 'before the request', `\nGET /first HTTP/1.1\r\nHost: story\r\n\r\n`),
  refused('bare CR', 'in a value', `GET /first HTTP/1.1\r\nHost: story\r\nX: a\rb\r\n\r\n`),
  refused('bare CR', 'in the target', `GET /a\rb HTTP/1.1\r\nHost: story\r\n\r\n`),
  refused('bare CR', 'as the end of the head', `GET /first HTTP/1.1\r\nHost: story\r\n\r\r\n${HIDDEN}`),
  refused('obs-fold', 'with a space', `GET /first HTTP/1.1\r\nHost: story\r\nX: a\r\n b\r\n\r\n`),
  refused('obs-fold', 'with a tab', `GET /first HTTP/1.1\r\nHost: story\r\nX: a\r\n\tb\r\n\r\n`),
  refused('obs-fold', 'in the first line', `GET /first HTTP/1.1\r\n Host: story\r\nHost: story\r\n\r\n`),
  ...['X Y: z', 'X\x00: z', 'X\x7f: z', ': z', '\xffX: z', 'X(: z', 'X"Y: z', 'X', 'X/Y: z', 'X[]: z', '\tX: z'].map(
    (line) => refused('names', JSON.stringify(line), `GET /first HTTP/1.1\r\nHost: story\r\n${line}\r\n\r\n${HIDDEN}`),
  ),
  refused('HTTP/0.9', 'without a version', `GET /first\r\n\r\n`),
  refused('HTTP/0.9', 'with a version', `GET /first HTTP/0.9\r\n\r\n${HIDDEN}`, 505),
  refused(
    'HTTP/1.0',
    'with Transfer-Encoding',
    `POST /first HTTP/1.0\r\nHost: story\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${HIDDEN}`,
  ),
  refused(
    'HTTP/1.0',
    'with both',
    `POST /first HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${HIDDEN}`,
  ),
  {
    family: 'HTTP/1.0',
    name: 'ends its connection after one request',
    bytes: `GET /first HTTP/1.0\r\nHost: story\r\n\r\n${HIDDEN}`,
    seen: ['GET /first '],
    statuses: [200],
  },
  refused('versions', 'HTTP/1.2', `GET /first HTTP/1.2\r\nHost: story\r\n\r\n${HIDDEN}`, 505),
  refused('versions', 'HTTP/2 by its preface', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`, 505),
  refused('versions', 'http/1.1', `GET /first http/1.1\r\nHost: story\r\n\r\n`),
  refused('versions', 'HTTP/1.1 and more', `GET /first HTTP/1.1 HTTP/1.1\r\nHost: story\r\n\r\n`),
  refused('versions', 'two spaces', `GET  /first HTTP/1.1\r\nHost: story\r\n\r\n`),
  refused('versions', 'a tab', `GET\t/first HTTP/1.1\r\nHost: story\r\n\r\n`),
  refused('Host', 'missing', `GET /first HTTP/1.1\r\n\r\n`),
  refused('Host', 'twice', `GET /first HTTP/1.1\r\nHost: story\r\nHost: inner\r\n\r\n`),
  refused('Host', 'with a space before the colon', `GET /first HTTP/1.1\r\nHost : inner\r\nHost: story\r\n\r\n`),
  refused('Host', 'another than the target', `GET http://story/first HTTP/1.1\r\nHost: inner\r\n\r\n`),
  refused('Host', 'with a user', `GET /first HTTP/1.1\r\nHost: story@inner\r\n\r\n`),
  refused('Host', 'with a path', `GET /first HTTP/1.1\r\nHost: story/inner\r\n\r\n`),
  refused('Host', 'with a list', `GET /first HTTP/1.1\r\nHost: story, inner\r\n\r\n`),
  refused('Host', 'with a user in the target', `GET http://a@story/first HTTP/1.1\r\nHost: story\r\n\r\n`),
  refused('Host', 'named by Connection', `GET /first HTTP/1.1\r\nHost: story\r\nConnection: Host\r\n\r\n`),
  {
    family: 'Host',
    name: 'absolute-form with the same host becomes origin-form',
    bytes: `GET http://story/first?a HTTP/1.1\r\nHost: story\r\n\r\n`,
    seen: ['GET /first?a '],
    statuses: [200],
  },
  ...['y 100-continue', '100-continue, x', '100-continue;a', ''].map((value) =>
    refused('Expect', JSON.stringify(value), `${HEAD}Expect: ${value}\r\nContent-Length: 5\r\n\r\n12345${HIDDEN}`, 417),
  ),
  refused(
    'Expect',
    'twice',
    `${HEAD}Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n12345${HIDDEN}`,
  ),
  refused('Expect', 'folded', `${HEAD}Expect:\r\n 100-continue\r\nContent-Length: 5\r\n\r\n12345${HIDDEN}`, 417),
  {
    family: 'Expect',
    name: 'with a length: the body is the body, whether 100 came or not',
    bytes: `${HEAD}Expect: 100-continue\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}GET /second HTTP/1.1\r\nHost: story\r\n\r\n`,
    seen: [`POST /first ${HIDDEN}`, 'GET /second '],
    statuses: [200, 200],
  },
  {
    family: 'Expect',
    name: 'of HTTP/1.0 goes no further',
    bytes: `POST /first HTTP/1.0\r\nHost: story\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi`,
    seen: ['POST /first hi'],
    statuses: [200],
    without: ['expect'],
  },
  {
    family: 'Upgrade',
    name: 'with a body: the body is the body',
    bytes: `${HEAD}Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`,
    seen: [`POST /first ${HIDDEN}`],
    statuses: [200],
  },
  ...[
    'h2c',
    'H2C',
    'websocket, h2c',
    'h2c, websocket',
    'websocket\r\nUpgrade: h2c',
    'h2c\r\nUpgrade: websocket',
    'HTTP/2.0',
    'h2',
    'TLS/1.0, HTTP/1.1',
  ].map(
    (value): Desync => ({
      family: 'Upgrade',
      name: `${JSON.stringify(value)} is cut`,
      bytes: `GET /first HTTP/1.1\r\nHost: story\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: ${value}\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n`,
      seen: ['GET /first '],
      statuses: [200],
      without: ['upgrade', 'connection', 'http2-settings'],
    }),
  ),
  ...['Content-Length', 'Transfer-Encoding', 'Host', 'X-Forwarded-For', 'X-Forwarded-Prefix', 'Via', 'Expect'].map(
    (name) =>
      refused('Connection', `names ${name}`, `${HEAD}Connection: ${name}\r\nContent-Length: 5\r\n\r\n12345${HIDDEN}`),
  ),
  {
    family: 'Connection',
    name: 'takes what it names away, and itself',
    bytes: `${HEAD}Connection: keep-alive, Cookie\r\nCookie: a\r\nContent-Length: 2\r\n\r\nhi`,
    seen: ['POST /first hi'],
    statuses: [200],
    without: ['cookie', 'connection'],
  },
  refused(
    'TRACE and CONNECT',
    'TRACE with a body',
    `TRACE /first HTTP/1.1\r\nHost: story\r\nContent-Length: 5\r\n\r\n12345${HIDDEN}`,
  ),
  refused(
    'TRACE and CONNECT',
    'CONNECT, and what came behind it',
    `CONNECT story:80 HTTP/1.1\r\nHost: story:80\r\n\r\n${HIDDEN}`,
    501,
  ),
  refused(
    'TRACE and CONNECT',
    'CONNECT with a body',
    `CONNECT story:80 HTTP/1.1\r\nHost: story:80\r\nContent-Length: 5\r\n\r\n12345${HIDDEN}`,
  ),
  refused('targets', 'a fragment', `GET /first#a HTTP/1.1\r\nHost: story\r\n\r\n`),
  refused('targets', 'without a slash', `GET first HTTP/1.1\r\nHost: story\r\n\r\n`),
  refused('targets', 'bytes above ASCII', `GET /\xff HTTP/1.1\r\nHost: story\r\n\r\n`),
  refused('targets', 'another scheme', `GET ftp://story/ HTTP/1.1\r\nHost: story\r\n\r\n`),
  ...[
    '/a/../b',
    '/a/%2e%2e/b',
    '/a/..%2fb',
    '/a%5cb',
    '/a\\b',
    '/a/..;/b',
    '/a%00',
    '/a%',
    '/a%zz',
    '/.',
    '/a/%2E',
  ].map((path): Desync => ({ ...refused('paths', path, `GET ${path} HTTP/1.1\r\nHost: story\r\n\r\n`), goesOn: true })),
  {
    family: 'paths',
    name: 'other spellings reach the endpoint in one form',
    bytes: 'GET //%61//b%c3%a9%7E?%61//..%2f HTTP/1.1\r\nHost: story\r\n\r\n',
    seen: ['GET /a/b%C3%A9~?%61//..%2f '],
    statuses: [200],
  },
];
