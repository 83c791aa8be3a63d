import { describe, expect, it } from 'vitest';
import { HeaderEdits } from '../../../../src/proxy/http1/header-edits.ts';
import { hashOfRequest } from '../../../../src/proxy/http1/request-hash.ts';
import { type HashKey, parseHashKey } from '../../../../src/scheduling/hash-key.ts';
import { HeadStatus } from '../../../../src/wire/http1/head-status.ts';
import { RequestHead } from '../../../../src/wire/http1/request-head.ts';

interface Asked {
  readonly target?: string;
  readonly lines?: readonly string[];
  readonly client?: string;
  readonly edits?: Readonly<Record<string, string | null>>;
}

function hashed(on: string, { target = '/', lines = [], client = '10.0.0.1', edits = {} }: Asked): number {
  const head = new RequestHead({ headBytes: 8192, headers: 50, target: 4096 });
  // The head does not begin where the buffer does.
  const text = `GET ${target} HTTP/1.1\r\nHost: a\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;
  const headBytes = Buffer.from(`....${text}`, 'latin1');
  expect(head.read(headBytes, 4, headBytes.length)).toBe(HeadStatus.COMPLETE);
  const requestEdits = new HeaderEdits();
  for (const [name, value] of Object.entries(edits)) requestEdits.set(name, value);
  return hashOfRequest(parseHashKey(on) as HashKey, head, { headBytes, requestEdits, clientAddress: client });
}

/** What a value hashes to, wherever it stands. */
const ofValue = (value: string) => hashed('client', { client: value });

describe('what a request hashes to', () => {
  it.each<[string, string, Asked, string]>([
    ['a header, by its name in any case', 'header:X-User', { lines: ['x-uSER:  ann '] }, 'ann'],
    ['the first of several lines', 'header:x-user', { lines: ['X-Other: 1', 'X-User: ann', 'X-User: bob'] }, 'ann'],
    ['a header that Connection names', 'header:x-user', { lines: ['Connection: x-user', 'X-User: ann'] }, 'ann'],
    ['what a middleware set', 'header:x-user', { lines: ['X-User: ann'], edits: { 'x-user': 'bob' } }, 'bob'],
    ['a header beside one that was set', 'header:x-user', { lines: ['X-User: ann'], edits: { a: 'b' } }, 'ann'],
    ['a cookie among others', 'cookie:sid', { lines: ['Cookie: a=1; sid=x=y ;xsid=2'] }, 'x=y'],
    ['a cookie of a later line', 'cookie:sid', { lines: ['Cookie: a=1', 'Cookie: sid=s'] }, 's'],
    ['a cookie at the end', 'cookie:sid', { lines: ['Cookie: sidx=1; Sid=2; sid=3'] }, '3'],
    ['a parameter', 'query:id', { target: '/p?xid=1&id=2&id=3' }, '2'],
    ['a parameter however it is written', 'query:i d', { target: '/p?a&i+d=%61+b%' }, 'a b%'],
    ['the path without the query', 'path', { target: '/a/b?c=d' }, '/a/b'],
    ['the path of an absolute target without one', 'path', { target: 'http://a' }, '/'],
    ['the client', 'client', { client: '::1' }, '::1'],
  ])('is that of %s', (_, on, asked, value) => {
    expect(hashed(on, asked)).toBe(ofValue(value));
    expect(hashed(on, asked)).toBeGreaterThan(0);
  });

  it.each<[string, string, Asked]>([
    ['without the header', 'header:x-user', { lines: ['X-Users: ann', 'Ax-User: b'] }],
    ['with an empty one', 'header:x-user', { lines: ['X-User:'] }],
    ['whose header a middleware took', 'header:x-user', { lines: ['X-User: ann'], edits: { 'x-user': null } }],
    ['without the cookie', 'cookie:sid', { lines: ['Cookie: a=sid; sid; SID=1', 'X-Cookie: sid=1'] }],
    ['with an empty cookie', 'cookie:sid', { lines: ['Cookie: sid=; a=b'] }],
    ['without cookies', 'cookie:sid', {}],
    ['without the parameter', 'query:id', { target: '/id?x=id&ID=1&idx=2' }],
    ['with an empty parameter', 'query:id', { target: '/?id=&id=2' }],
    ['with a parameter without value', 'query:id', { target: '/?id' }],
  ])('is 0, no key, in one %s', (_, on, asked) => {
    expect(hashed(on, asked)).toBe(0);
  });

  it('is within 31 bits and spreads likely values evenly', () => {
    const buckets = new Array(16).fill(0);
    for (let i = 0; i < 16_000; i++) {
      const hash = hashed('client', { client: `10.0.${i >> 8}.${i & 255}` });
      expect(hash > 0 && hash < 2 ** 31).toBe(true);
      buckets[hash & 7]++;
      buckets[8 + (hash >>> 28)]++;
    }
    for (const count of buckets) expect(Math.abs(count - 2000)).toBeLessThan(200);
  });
});
