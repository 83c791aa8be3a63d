import type { HeadLimits } from '../../src/wire/http1/head-status.ts';
import type { Refusal, ResponseView, Unfinished } from './messages.ts';

/** One response head: its bytes as latin1 text, the rule it stands for, and what the reader must make of it. */
export interface ResponseCase {
  readonly name: string;
  readonly rfc: string;
  readonly bytes: string;
  readonly expect: Partial<ResponseView> | Partial<Refusal> | Unfinished;
  readonly limits?: HeadLimits;
}

const accept = (
  rfc: string,
  name: string,
  bytes: string,
  view: Partial<Omit<ResponseView, 'outcome'>> = {},
): ResponseCase => ({
  name: `accepts ${name}`,
  rfc,
  bytes,
  expect: { outcome: 'complete', ...view },
});
const refuse = (rfc: string, name: string, bytes: string, detail?: string): ResponseCase => ({
  name: `refuses ${name}`,
  rfc,
  bytes,
  expect: { outcome: 'error', ...(detail === undefined ? {} : { detail }) },
});
const wait = (name: string, bytes: string): ResponseCase => ({
  name: `waits for more after ${name}`,
  rfc: '9112 2',
  bytes,
  expect: { outcome: 'incomplete' },
});
const limited = (limits: Partial<HeadLimits>, one: ResponseCase): ResponseCase => ({
  ...one,
  limits: { headBytes: 4096, headers: 20, target: 1024, ...limits },
});

const ok = (...lines: string[]) => `HTTP/1.1 200 OK\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;
const old = (...lines: string[]) => ok(...lines).replace('1.1', '1.0');
const status = (code: number | string, ...lines: string[]) => ok(...lines).replace('200', String(code));

const STATUS_LINE: readonly ResponseCase[] = [
  accept('9112 4', 'the smallest response', 'HTTP/1.1 200 OK\r\n\r\n', {
    end: 19,
    status: 200,
    minor: 1,
    reason: 'OK',
    contentLength: -1,
    chunked: false,
    keepAlive: true,
    upgrade: false,
    keepAliveTimeoutS: -1,
    retryAfterS: -1,
    lines: [],
  }),
  accept('9112 4', 'bytes of the body behind the head', 'HTTP/1.1 200 OK\r\n\r\nHTTP/1.1', { end: 19 }),
  ...[100, 101, 103, 204, 206, 301, 304, 404, 418, 499, 500, 503, 599].map((code) =>
    accept('9110 15', `status ${code}`, status(code), { status: code }),
  ),
  accept('9112 4', 'a reason phrase of several words', 'HTTP/1.1 404 Not Found at all\r\n\r\n', {
    reason: 'Not Found at all',
  }),
  accept('9112 4', 'a reason phrase with tabs and bytes above 0x7f', 'HTTP/1.1 200 \t\xc3\xa9\r\n\r\n', {
    reason: '\t\xc3\xa9',
  }),
  accept('9112 4', 'an empty reason phrase', 'HTTP/1.1 200 \r\n\r\n', { reason: '', status: 200 }),
  accept('9112 4', 'neither reason phrase nor space', 'HTTP/1.1 200\r\n\r\n', { reason: '', status: 200 }),
  accept('9112 4', 'a reason phrase of digits', 'HTTP/1.1 200 200\r\n\r\n', { reason: '200' }),
  accept('9112 9.3', 'HTTP/1.0', old(), { minor: 0, keepAlive: false }),
  ...[
    'HTTP/2.0',
    'HTTP/1.2',
    'HTTP/0.9',
    'http/1.1',
    'HTTP/1',
    'HTTP/11',
    'ICY',
    'HTTP/1.1.1',
    'XHTTP/1.1',
    'HTTP/1,1',
    'HTTP\\1.1',
  ].map((version) => refuse('9112 2.3', `the version ${version}`, `${version} 200 OK\r\n\r\n`)),
  ...[
    '',
    '2',
    '20',
    '099',
    '000',
    '600',
    '999',
    '2000',
    '20x',
    'x00',
    '+20',
    '-20',
    '2 0',
    '20.',
    '0200',
    '\xb2\xb2\xb2',
    'OK',
  ].map((code) => refuse('9110 15', `status ${JSON.stringify(code)}`, `HTTP/1.1 ${code} OK\r\n\r\n`)),
  refuse('9112 4', 'two spaces before the status', 'HTTP/1.1  200 OK\r\n\r\n'),
  refuse('9112 4', 'a tab before the status', 'HTTP/1.1\t200 OK\r\n\r\n'),
  refuse('9112 4', 'a tab behind the status', 'HTTP/1.1 200\tOK\r\n\r\n'),
  refuse('9112 4', 'no space before the status', 'HTTP/1.1200 OK\r\n\r\n'),
  refuse('9112 4', 'no status', 'HTTP/1.1\r\n\r\n'),
  refuse('9112 4', 'a space before the version', ' HTTP/1.1 200 OK\r\n\r\n'),
  refuse('9112 2.2', 'an empty line before the status line', '\r\nHTTP/1.1 200 OK\r\n\r\n'),
  refuse('9112 4', 'NUL in the reason phrase', 'HTTP/1.1 200 O\0K\r\n\r\n'),
  refuse('9112 4', 'DEL in the reason phrase', 'HTTP/1.1 200 O\x7fK\r\n\r\n'),
  refuse('9112 4', 'CR in the reason phrase', 'HTTP/1.1 200 O\rK\r\n\r\n'),
  refuse('9112 2.2', 'a status line that ends with LF', 'HTTP/1.1 200 OK\n\r\n'),
  refuse('9112 2.2', 'a status line that ends with CR', 'HTTP/1.1 200 OK\rA: b\r\n\r\n'),
  refuse('9112 2.2', 'a status line that ends with LF right after the status', 'HTTP/1.1 200\n\r\n'),
  refuse('9112 4', 'a body without a head (HTTP/0.9)', '<html></html>'),
  refuse('9112 4', 'a TLS alert', '\x15\x03\x01\x00\x02\x02\x46'),
];

const FIELDS: readonly ResponseCase[] = [
  accept('9112 5', 'order, case, repeats and bytes above 0x7f', ok('set-cookie: a', 'Set-Cookie: b\xff', 'X-a:1'), {
    lines: [
      ['set-cookie', 'a', 'SET_COOKIE'],
      ['Set-Cookie', 'b\xff', 'SET_COOKIE'],
      ['X-a', '1', 'OTHER'],
    ],
  }),
  accept('9112 5', 'an empty value', ok('A:'), { lines: [['A', '', 'OTHER']] }),
  accept('9112 5.1', 'white space around a value', ok('A: \t b \t'), { lines: [['A', 'b', 'OTHER']] }),
  accept('9112 3.2', 'Host as any field', ok('Host: a b', 'Host: c'), {
    lines: [
      ['Host', 'a b', 'HOST'],
      ['Host', 'c', 'HOST'],
    ],
  }),
  refuse('9112 5.1', 'a space before the colon', ok('A : b'), 'space before the colon'),
  refuse('9112 5.1', 'a space before the colon of Content-Length', ok('Content-Length : 5'), 'space before the colon'),
  refuse('9112 5.2', 'a folded line', ok('A: b', ' c'), 'line folding'),
  refuse('9112 5.2', 'a folded first line', ok(' A: b'), 'line folding'),
  refuse('9110 5.1', 'an empty name', ok(': b'), 'empty field name'),
  refuse('9112 5', 'a line without a colon', ok('A'), 'header line without a colon'),
  refuse('9110 5.1', 'a name that is no token', ok('A@b: c')),
  refuse('9110 5.5', 'NUL in a value', ok('A: \0'), 'control byte in a field value'),
  refuse('9110 5.5', 'a control byte in a value', ok('A: \x1b[0m'), 'control byte in a field value'),
  refuse('9112 2.2', 'LF in a value', ok('A: b\nc'), 'LF without CR'),
  refuse('9112 2.2', 'CR in a value', ok('A: b\rc'), 'CR without LF'),
  refuse('9112 2.2', 'an empty line of LF', 'HTTP/1.1 200 OK\r\nA: b\r\n\n', 'LF without CR'),
  refuse('9112 2.2', 'a head in which every line ends with LF', 'HTTP/1.1 200 OK\nA: b\n\n'),
  limited({ headers: 1 }, accept('6585 5', 'as many headers as the limit', ok('A: b'))),
  limited({ headers: 1 }, refuse('6585 5', 'one header too many', ok('A: b', 'C: d'), 'too many header lines')),
  limited({ headBytes: 19 }, accept('6585 5', 'a head as long as the limit', ok())),
  limited({ headBytes: 18 }, refuse('6585 5', 'a head beyond the limit', ok(), 'head is too large')),
  limited(
    { headBytes: 18 },
    refuse('6585 5', 'an endless reason phrase', `HTTP/1.1 200 ${'a'.repeat(99)}`, 'head is too large'),
  ),
  limited({ headBytes: 10 }, refuse('6585 5', 'a status beyond the limit', ok(), 'head is too large')),
];

const FRAMING: readonly ResponseCase[] = [
  accept('9112 6.2', 'Content-Length', ok('Content-Length: 5'), { contentLength: 5 }),
  accept('9112 6.2', 'Content-Length: 0', ok('Content-Length: 0'), { contentLength: 0 }),
  accept('9112 6.3', 'Content-Length with 304', status(304, 'Content-Length: 5'), { contentLength: 5, status: 304 }),
  accept('9110 15.3.5', 'Content-Length: 0 with 204', status(204, 'Content-Length: 0'), { contentLength: 0 }),
  accept('9110 15.3.6', 'Content-Length with 205', status(205, 'Content-Length: 5'), { contentLength: 5 }),
  accept('9112 6.1', 'chunked with 304', status(304, 'Transfer-Encoding: chunked'), { chunked: true }),
  accept('9112 7.1', 'chunked', ok('Transfer-Encoding: chunked'), { chunked: true, contentLength: -1 }),
  accept('9112 7', 'chunked in another case', ok('TRANSFER-ENCODING: Chunked'), { chunked: true }),
  refuse(
    '9112 6.1',
    'chunked with Content-Length',
    ok('Transfer-Encoding: chunked', 'Content-Length: 5'),
    'Transfer-Encoding with Content-Length',
  ),
  refuse(
    '9112 6.1',
    'Content-Length with chunked',
    ok('Content-Length: 5', 'Transfer-Encoding: chunked'),
    'Transfer-Encoding with Content-Length',
  ),
  refuse('9112 6.1', 'chunked in HTTP/1.0', old('Transfer-Encoding: chunked'), 'Transfer-Encoding in HTTP/1.0'),
  refuse(
    '9112 6.1',
    'gzip before chunked',
    ok('Transfer-Encoding: gzip, chunked'),
    'transfer coding other than chunked',
  ),
  refuse('9112 6.3', 'gzip', ok('Transfer-Encoding: gzip'), 'chunked is not the final transfer coding'),
  refuse('9112 6.3', 'identity', ok('Transfer-Encoding: identity'), 'chunked is not the final transfer coding'),
  refuse('9112 6.3', 'chunked before gzip', ok('Transfer-Encoding: chunked, gzip')),
  refuse(
    '9112 6.1',
    'chunked twice',
    ok('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'),
    'chunked is repeated',
  ),
  refuse('9112 6.1', 'an empty Transfer-Encoding', ok('Transfer-Encoding:')),
  refuse('9112 6.1', 'chunked with a parameter', ok('Transfer-Encoding: chunked;a=b')),
  refuse(
    '9110 8.6',
    'two lengths that differ',
    ok('Content-Length: 5', 'Content-Length: 6'),
    'Content-Length is repeated',
  ),
  refuse(
    '9110 8.6',
    'two lengths that are the same',
    ok('Content-Length: 5', 'Content-Length: 5'),
    'Content-Length is repeated',
  ),
  refuse('9110 8.6', 'a list of lengths', ok('Content-Length: 5, 5'), 'Content-Length is not a number'),
  ...['', '-1', '+1', '1 1', '0x1', '1e1', 'a', '9007199254740993'].map((value) =>
    refuse('9110 8.6', `Content-Length: ${JSON.stringify(value)}`, ok(`Content-Length: ${value}`)),
  ),
  ...[100, 101, 103, 204].flatMap((code) => [
    refuse(
      '9112 6.3',
      `Content-Length: 5 with ${code}`,
      status(code, 'Content-Length: 5'),
      'a body is announced with a status that has none',
    ),
    refuse(
      '9112 6.1',
      `chunked with ${code}`,
      status(code, 'Transfer-Encoding: chunked'),
      'a body is announced with a status that has none',
    ),
  ]),
];

const CONNECTION: readonly ResponseCase[] = [
  accept('9112 9.3', 'close', ok('Connection: close'), { keepAlive: false }),
  accept('9112 9.3', 'keep-alive', ok('Connection: keep-alive'), { keepAlive: true }),
  accept('9112 9.3', 'keep-alive in HTTP/1.0', old('Connection: keep-alive'), { keepAlive: true, minor: 0 }),
  accept('9112 9.3', 'close and keep-alive', ok('Connection: keep-alive', 'Connection: close'), { keepAlive: false }),
  accept(
    '9110 7.8',
    'an upgrade',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n',
    { upgrade: true, status: 101 },
  ),
  accept('9110 7.8', 'Upgrade without Connection as none', status(426, 'Upgrade: h2c'), { upgrade: false }),
  accept('9110 7.6.1', 'fields that Connection names', ok('X-a: 1', 'Connection: x-a, date', 'Date: 2'), {
    lines: [
      ['X-a', '1', 'NAMED_BY_CONNECTION'],
      ['Connection', 'x-a, date', 'CONNECTION'],
      ['Date', '2', 'NAMED_BY_CONNECTION'],
    ],
  }),
  accept(
    '9110 7.6.1',
    'Transfer-Encoding named by Connection, which changes nothing',
    ok('Connection: Transfer-Encoding', 'Transfer-Encoding: chunked'),
    {
      chunked: true,
      lines: [
        ['Connection', 'Transfer-Encoding', 'CONNECTION'],
        ['Transfer-Encoding', 'chunked', 'TRANSFER_ENCODING'],
      ],
    },
  ),
  refuse(
    '9110 7.6.1',
    'a Connection that is no list',
    ok('Connection: keep-alive; timeout=5'),
    'Connection is not a list of tokens',
  ),
  ...(
    [
      ['timeout=5', 5],
      ['timeout=5, max=100', 5],
      ['max=100, timeout=15', 15],
      ['max=100,Timeout=15', 15],
      ['timeout=0', 0],
      ['timeout=99999999999999999999', 31_536_000],
      ['timeout=', -1],
      ['timeout', -1],
      ['timeout=-5', -1],
      ['timeout=5s', -1],
      ['x-timeout=5', -1],
      ['300', -1],
      ['', -1],
      [', , =, timeout=7', 7],
      ['"timeout=5"', -1],
    ] as const
  ).map(([value, keepAliveTimeoutS]) =>
    accept('2068 19.7.1', `Keep-Alive: ${value}`, ok(`Keep-Alive: ${value}`), { keepAliveTimeoutS }),
  ),
  ...(
    [
      ['0', 0],
      ['120', 120],
      ['99999999999', 31_536_000],
      ['', -1],
      ['-1', -1],
      ['1.5', -1],
      ['Fri, 31 Dec 1999 23:59:59 GMT', -1],
    ] as const
  ).map(([value, retryAfterS]) =>
    accept('9110 10.2.3', `Retry-After: ${value}`, status(503, `Retry-After: ${value}`), { retryAfterS }),
  ),
];

const UNFINISHED: readonly ResponseCase[] = [
  wait('nothing', ''),
  wait('part of the version', 'HTT'),
  wait('the version', 'HTTP/1.1'),
  wait('the space', 'HTTP/1.1 '),
  wait('part of the status', 'HTTP/1.1 20'),
  wait('the status', 'HTTP/1.1 200'),
  wait('the second space', 'HTTP/1.1 200 '),
  wait('part of the reason phrase', 'HTTP/1.1 200 O'),
  wait('the CR of the status line', 'HTTP/1.1 200 OK\r'),
  wait('the status line', 'HTTP/1.1 200 OK\r\n'),
  wait('a line', 'HTTP/1.1 200 OK\r\nA: b\r\n'),
  wait('the CR of the empty line', 'HTTP/1.1 200 OK\r\n\r'),
];

/** Response heads with what must become of them. */
export const RESPONSES: readonly ResponseCase[] = [...STATUS_LINE, ...FIELDS, ...FRAMING, ...CONNECTION, ...UNFINISHED];
