import { BODIES } from './chunked-bodies.ts';
import { REQUESTS } from './requests.ts';
import { RESPONSES } from './responses.ts';

const withBody = (text: string) => (/content-length: *5/i.test(text) ? `${text}12345` : `${text}3\r\nabc\r\n0\r\n\r\n`);
const isShort = (one: { readonly bytes: string }) => one.bytes.length < 1200;

/** Messages that are changed: the corpora, with bodies behind their heads. */
export const SEEDS = {
  request: [
    ...REQUESTS.filter(isShort).map((one) => withBody(one.bytes)),
    ...BODIES.map((one) => `POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${one.bytes}`),
  ],
  response: [
    ...RESPONSES.filter(isShort).map((one) => withBody(one.bytes)),
    ...BODIES.map((one) => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${one.bytes}`),
  ],
} as const;

const PIECES = [
  ...['\r', '\n', '\r\n', '\r\n\r\n', ' ', '\t', ':', ',', ';', '=', '"', '\0', '\x7f', '\x80', '\xff', '\x0b'],
  ...['0', '1', '5', 'a', 'f', '/', '?', '*', '%', '[', 'chunked', 'HTTP/1.0', 'HTTP/1.1', 'x: y\r\n'],
  ...['Content-Length: 5\r\n', 'Transfer-Encoding: chunked\r\n', 'Connection: close\r\n', 'Connection: keep-alive\r\n'],
  ...['Expect: 100-continue\r\n', 'Trailer: a\r\n', 'Host: b\r\n', 'Upgrade: h2c\r\n', '100', '204', '304', '101'],
];

/** A number below 1 for each call, the same ones for the same seed (mulberry32). */
export function numbersFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A message with one to six changes, mostly few: a piece put in, bytes cut out, doubled or replaced, a part of another message. */
export function mutantOf(kind: 'request' | 'response', next: () => number): Buffer {
  const below = (count: number) => Math.floor(next() * count);
  const one = <T>(list: readonly T[]): T => list[below(list.length)];
  let text = one(SEEDS[kind]);
  // Mostly one or two: what is changed much is refused, and teaches little.
  for (let edits = 1 + Math.floor(6 * next() ** 3); edits > 0; edits--) {
    const at = below(text.length + 1);
    const other = one(SEEDS[kind]);
    const from = below(other.length);
    const put = one([
      one(PIECES),
      one(PIECES),
      String.fromCharCode(below(256)),
      '',
      text.slice(at, at + below(20)),
      other.slice(from, from + below(40)),
    ]);
    text = text.slice(0, at) + put + text.slice(at + one([0, 0, 1, 2, below(20)]));
  }
  return Buffer.from(text, 'latin1');
}
