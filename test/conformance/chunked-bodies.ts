import type { BodyView } from './messages.ts';

/** One chunked body: its bytes as latin1 text, the rule it stands for, and what the reader must make of it. */
export interface BodyCase {
  readonly name: string;
  readonly rfc: string;
  readonly bytes: string;
  readonly expect: Partial<BodyView>;
}

const accept = (rfc: string, name: string, bytes: string, payload: string, more: Partial<BodyView> = {}): BodyCase => ({
  name: `accepts ${name}`,
  rfc,
  bytes,
  expect: { outcome: 'complete', payload, consumed: bytes.length, trailers: '', ...more },
});
const refuse = (rfc: string, name: string, bytes: string, detail: string): BodyCase => ({
  name: `refuses ${name}`,
  rfc,
  bytes,
  expect: { outcome: 'error', detail },
});
const wait = (name: string, bytes: string, payload = ''): BodyCase => ({
  name: `waits for more after ${name}`,
  rfc: '9112 7.1',
  bytes,
  expect: { outcome: 'incomplete', payload, consumed: bytes.length },
});
/** An empty body with these trailer lines. */
const trailers = (...lines: string[]) => `0\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;

const SIZE = 'chunk size is malformed';
const BAD_EXTENSION = 'malformed chunk extension';
const NO_SIZE = 'chunk size is missing';

/** Chunked bodies with what must become of them. */
export const BODIES: readonly BodyCase[] = [
  accept('9112 7.1', 'an empty body', '0\r\n\r\n', ''),
  accept('9112 7.1', 'several chunks', '3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n', 'abcd'),
  accept('9112 7.1', 'payload that looks like framing', '7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n', '0\r\n\r\n\r\n'),
  accept('9112 7.1', 'sizes in both cases', 'A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n', '01234567890123456789'),
  accept('9112 7.1', 'zeros before a size', '0003\r\nabc\r\n000\r\n\r\n', 'abc'),
  accept('9112 7.1', 'a size of 13 digits', '0000000000003\r\nabc\r\n0\r\n\r\n', 'abc'),
  accept('9112 7.1', 'the next message behind the body', '0\r\n\r\nGET / HTTP/1.1', '', { consumed: 5 }),
  accept('9112 7.1.1', 'extensions, discarded', '3;a=b;c="d;e"\r\nabc\r\n0;z\r\n\r\n', 'abc'),
  accept(
    '9112 7.1.1',
    'extensions as long as the limit',
    `3;${'a'.repeat(64)}\r\nabc\r\n0;${'a'.repeat(64)}\r\n\r\n`,
    'abc',
  ),
  refuse(
    '9112 7.1.1',
    'extensions beyond the limit',
    `3;${'a'.repeat(65)}\r\nabc\r\n0\r\n\r\n`,
    'chunk extensions are too long',
  ),
  refuse(
    '9112 7.1.1',
    'extensions that are more than the payload and the limit, chunk by chunk',
    `1;${'a'.repeat(63)}\r\nx\r\n`.repeat(17),
    'chunk extensions are too long',
  ),
  accept(
    '9112 7.1.1',
    'extensions of many chunks that are less than their payload',
    `${'8;abcdef\r\n12345678\r\n'.repeat(40)}0\r\n\r\n`,
    '12345678'.repeat(40),
  ),
  refuse('9112 7.1.1', 'endless extensions', `3;${'a'.repeat(300)}`, 'chunk extensions are too long'),
  refuse('9112 7.1.1', 'LF in an extension', '3;a\nabc\r\n0\r\n\r\n', BAD_EXTENSION),
  refuse('9112 7.1.1', 'CR in an extension', '3;a\rb\r\nabc\r\n0\r\n\r\n', 'chunk size is not followed by CRLF'),
  refuse('9112 7.1.1', 'NUL in an extension', '3;\0\r\nabc\r\n0\r\n\r\n', BAD_EXTENSION),
  refuse('9112 7.1.1', 'a quoted line end', '3;a="\r\nabc"\r\n0\r\n\r\n', BAD_EXTENSION),
  accept('9112 7.1.1', 'a quoted pair', '3;a="\\"\\\\;"\r\nabc\r\n0\r\n\r\n', 'abc'),
  ...[
    ';',
    ';;a',
    ';a;',
    ';=b',
    ';a=',
    ';a=b=c',
    ';a="b',
    ';a="b"c',
    ';a=b"c"',
    '; a',
    ';a ',
    ';a =b',
    ';a= b',
    ';a=b ;c',
    ';a,b',
    ';\xff',
    ';a="\\',
  ].map((text) =>
    refuse('9112 7.1.1', `the extension ${JSON.stringify(text)}`, `3${text}\r\nabc\r\n0\r\n\r\n`, BAD_EXTENSION),
  ),
  refuse('9112 7.1', 'a size of 14 digits', '00000000000003\r\nabc\r\n0\r\n\r\n', 'chunk size is too large'),
  refuse('9112 7.1', 'a size beyond 64 bits', '10000000000000003\r\nabc\r\n0\r\n\r\n', 'chunk size is too large'),
  refuse('9112 7.1', 'a size of many zeros', `${'0'.repeat(40)}\r\n\r\n`, 'chunk size is too large'),
  refuse('9112 7.1', 'an empty size', '\r\nabc\r\n0\r\n\r\n', NO_SIZE),
  refuse('9112 7.1', 'an extension without a size', ';a\r\n0\r\n\r\n', NO_SIZE),
  refuse('9112 7.1', 'a plus sign', '+3\r\nabc\r\n0\r\n\r\n', NO_SIZE),
  refuse('9112 7.1', 'a minus sign', '-3\r\nabc\r\n0\r\n\r\n', NO_SIZE),
  refuse('9112 7.1', '0x', '0x3\r\nabc\r\n0\r\n\r\n', SIZE),
  refuse('9112 7.1', 'a letter beyond f', '3g\r\nabc\r\n0\r\n\r\n', SIZE),
  refuse('9112 7.1', 'an underscore', '1_0\r\nabc\r\n0\r\n\r\n', SIZE),
  refuse('9112 7.1', 'a space before the size', ' 3\r\nabc\r\n0\r\n\r\n', NO_SIZE),
  refuse('9112 7.1', 'a space behind the size', '3 \r\nabc\r\n0\r\n\r\n', SIZE),
  refuse('9112 7.1', 'a tab behind the size', '3\t\r\nabc\r\n0\r\n\r\n', SIZE),
  refuse('9112 7.1', 'a space before an extension', '3 ;a\r\nabc\r\n0\r\n\r\n', SIZE),
  refuse('9112 7.1', 'a comma', '3,3\r\nabc\r\n0\r\n\r\n', SIZE),
  refuse('9112 7.1', 'a fraction', '3.0\r\nabc\r\n0\r\n\r\n', SIZE),
  refuse('9112 7.1', 'NUL behind the size', '3\0\r\nabc\r\n0\r\n\r\n', SIZE),
  refuse('9112 7.1', 'a size that ends with LF', '3\nabc\r\n0\r\n\r\n', SIZE),
  refuse('9112 7.1', 'a size that ends with CR', '3\rabc\r\n0\r\n\r\n', 'chunk size is not followed by CRLF'),
  refuse('9112 7.1', 'a size that ends with CR CR LF', '3\r\r\nabc\r\n0\r\n\r\n', 'chunk size is not followed by CRLF'),
  refuse('9112 7.1', 'a chunk longer than its size', '3\r\nabcd\r\n0\r\n\r\n', 'chunk is not followed by CRLF'),
  refuse('9112 7.1', 'a chunk shorter than its size', '4\r\nabc\r\n0\r\n\r\n', 'chunk is not followed by CRLF'),
  refuse('9112 7.1', 'a chunk that ends with LF', '3\r\nabc\n0\r\n\r\n', 'chunk is not followed by CRLF'),
  refuse('9112 7.1', 'a chunk that ends with CR', '3\r\nabc\r0\r\n\r\n', 'chunk is not followed by CRLF'),
  refuse('9112 7.1', 'a chunk without an end', '3\r\nabc0\r\n\r\n', 'chunk is not followed by CRLF'),
  refuse('9112 7.1', 'a last chunk that ends with LF', '0\n\r\n', SIZE),
  refuse('9112 7.1', 'an end of LF', '0\r\n\n', 'malformed trailer line'),
  refuse('9112 7.1', 'an end of CR and another byte', '0\r\n\rX', 'CR without LF'),
  accept('9112 7.1.2', 'trailers', trailers('Checksum: abc', 'X-b:\tc\xe9 '), '', {
    trailers: 'Checksum: abc\r\nX-b: c\xe9\r\n',
  }),
  accept('9112 7.1.2', 'an empty trailer', trailers('A:'), '', { trailers: 'A: \r\n' }),
  accept('9112 7.1.2', 'trailers behind payload', `3\r\nabc\r\n${trailers('grpc-status: 0')}`, 'abc', {
    trailers: 'grpc-status: 0\r\n',
  }),
  accept('9112 7.1.2', 'as many trailers as the limit', trailers('A: 1', 'B: 2', 'C: 3', 'D: 4'), '', {
    trailers: 'A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n',
  }),
  refuse('9112 7.1.2', 'one trailer too many', trailers('A: 1', 'B: 2', 'C: 3', 'D: 4', 'E: 5'), 'too many trailers'),
  accept('9112 7.1.2', 'trailers of as many bytes as the limit', trailers(`A: ${'b'.repeat(251)}`), '', {
    trailers: `A: ${'b'.repeat(251)}\r\n`,
  }),
  refuse('9112 7.1.2', 'trailers beyond the limit', trailers(`A: ${'b'.repeat(252)}`), 'trailers are too long'),
  refuse('9112 7.1.2', 'an endless trailer name', `0\r\n${'a'.repeat(257)}`, 'trailers are too long'),
  ...[
    'Content-Length: 5',
    'transfer-encoding: chunked',
    'Host: b',
    'Trailer: a',
    'Connection: close',
    'Authorization: a',
    'Set-Cookie: a',
    'Cookie: a',
    'TE: a',
    'Upgrade: a',
    'Content-Type: a',
    'Content-Encoding: a',
    'Cache-Control: a',
    'Expect: a',
    'X-Forwarded-For: a',
    'x_forwarded_for: a',
    'content_length: 5',
    'X-Evenkeel-Reason: a',
    'Proxy-Authorization: a',
    'Max-Forwards: 1',
    'Range: a',
    'If-Match: a',
    'Location: a',
    'Keep-Alive: a',
  ].map((line) =>
    accept('9110 6.5.1', `the trailer ${line}, and drops it`, trailers('A: b', line), '', { trailers: 'A: b\r\n' }),
  ),
  refuse('9112 5.1', 'a space before the colon of a trailer', trailers('A : b'), 'malformed trailer line'),
  refuse('9112 5.2', 'a folded trailer', trailers('A: b', ' c'), 'malformed trailer line'),
  refuse('9110 5.1', 'an empty trailer name', trailers(': b'), 'malformed trailer line'),
  refuse('9112 5', 'a trailer without a colon', trailers('A'), 'malformed trailer line'),
  refuse('9112 7.1.2', 'a request for a trailer', '0\r\nGET / HTTP/1.1\r\n', 'malformed trailer line'),
  refuse('9110 5.5', 'NUL in a trailer', trailers('A: \0'), 'control byte in a trailer'),
  refuse('9112 2.2', 'LF in a trailer', trailers('A: b\nC: d'), 'control byte in a trailer'),
  refuse('9112 2.2', 'CR in a trailer', trailers('A: b\rC: d'), 'CR without LF'),
  wait('nothing', ''),
  wait('a size', '3'),
  wait('an extension', '3;a'),
  wait('the CR of a size', '3\r'),
  wait('a size line', '3\r\n'),
  wait('part of a chunk', '3\r\nab', 'ab'),
  wait('a chunk', '3\r\nabc', 'abc'),
  wait('the CR of a chunk', '3\r\nabc\r', 'abc'),
  wait('the end of a chunk', '3\r\nabc\r\n', 'abc'),
  wait('a chunk of the greatest size', 'fffffffffffff\r\nabc', 'abc'),
  wait('the last chunk', '0\r\n'),
  wait('the CR of the end', '0\r\n\r'),
  wait('a trailer', '0\r\nA: b\r\n'),
];
