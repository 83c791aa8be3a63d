import { describe, expect, it } from 'vitest';
import { Field } from '../../../../src/wire/http1/field.ts';
import { HeadStatus } from '../../../../src/wire/http1/head-status.ts';
import { RequestHead } from '../../../../src/wire/http1/request-head.ts';
import { ResponseHead } from '../../../../src/wire/http1/response-head.ts';

const LIMITS = { headBytes: 64 * 1024, headers: 100, target: 8192 };

/** Reads the text a byte at a time in one buffer; how many reads it took and how long, in ms. */
function trickle(head: RequestHead, text: string): { reads: number; ms: number } {
  const buf = Buffer.from(text, 'latin1');
  const begin = performance.now();
  let reads = 0;
  while (reads < buf.length && head.read(buf, 0, ++reads) === HeadStatus.INCOMPLETE);
  return { reads, ms: performance.now() - begin };
}

describe('one reader', () => {
  it('carries nothing from one request to the next', () => {
    const head = new RequestHead(LIMITS);
    const full =
      'POST http://a:81/b?c HTTP/1.1\r\nHost: a:81\r\nTransfer-Encoding: chunked\r\nConnection: close, upgrade, x\r\nUpgrade: y\r\nExpect: 100-continue\r\nX: z\r\n\r\n';
    const buf = Buffer.from(`${full}GET /d HTTP/1.0\r\n\r\n`);
    expect(head.read(buf, 0, buf.length)).toBe(HeadStatus.COMPLETE);
    expect(head).toMatchObject({
      chunked: true,
      keepAlive: false,
      upgrade: true,
      expectContinue: true,
      headerCount: 6,
    });
    expect(head.kinds[5]).toBe(Field.NAMED_BY_CONNECTION);
    expect(head.read(buf, full.length, buf.length)).toBe(HeadStatus.COMPLETE);
    expect(head).toMatchObject({
      chunked: false,
      contentLength: -1,
      upgrade: false,
      expectContinue: false,
      headerCount: 0,
      minor: 0,
    });
    expect(head.hostEnd - head.hostStart).toBe(0);
    expect(head.queryEnd - head.queryStart).toBe(0);
  });

  it('carries nothing from one response to the next', () => {
    const head = new ResponseHead(LIMITS);
    const full =
      'HTTP/1.1 503 No\r\nContent-Length: 3\r\nKeep-Alive: timeout=5\r\nRetry-After: 6\r\nConnection: close\r\n\r\n';
    const buf = Buffer.from(`${full}HTTP/1.1 200 OK\r\n\r\n`);
    expect(head.read(buf, 0, buf.length)).toBe(HeadStatus.COMPLETE);
    expect(head).toMatchObject({ contentLength: 3, keepAliveTimeoutS: 5, retryAfterS: 6, keepAlive: false });
    expect(head.read(buf, full.length, buf.length)).toBe(HeadStatus.COMPLETE);
    expect(head).toMatchObject({
      contentLength: -1,
      keepAliveTimeoutS: -1,
      retryAfterS: -1,
      keepAlive: true,
      headerCount: 0,
    });
  });

  it('stays refused until it is reset', () => {
    const head = new RequestHead(LIMITS);
    const good = Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(head.read(Buffer.from('\0'), 0, 1)).toBe(HeadStatus.ERROR);
    expect(head.read(good, 0, good.length)).toBe(HeadStatus.ERROR);
    head.reset();
    expect(head.read(good, 0, good.length)).toBe(HeadStatus.COMPLETE);
  });

  it('forgets a head that was read in part when it is reset', () => {
    const head = new RequestHead(LIMITS);
    const part = Buffer.from('POST /b HTTP/1.1\r\nHost: a\r\nContent-Le');
    const good = Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(head.read(part, 0, part.length)).toBe(HeadStatus.INCOMPLETE);
    head.reset();
    expect(head.read(good, 0, good.length)).toBe(HeadStatus.COMPLETE);
    expect(head.headerCount).toBe(1);
  });
});

describe('a slow client', () => {
  it('costs no more than its bytes: each is looked at once', () => {
    const head = new RequestHead(LIMITS);
    const text = (bytes: number) => `GET / HTTP/1.1\r\nHost: a\r\nCookie: ${'c'.repeat(bytes)}\r\n\r\n`;
    trickle(head, text(2000));
    // Bytes of 60 KiB one by one are 1.8e9 byte steps, seconds, if every read begins anew.
    const { reads, ms } = trickle(head, text(60_000));
    expect(reads).toBe(text(60_000).length);
    expect(ms).toBeLessThan(500);
  });
});

describe('the lines of a head', () => {
  it('may be as many as the limit, wherever its first room ends', () => {
    for (const headers of [1, 31, 32, 33, 64, 65, 100]) {
      const head = new RequestHead({ ...LIMITS, headers });
      const lines = Array.from({ length: headers - 1 }, (_, i) => `A${i}: b\r\n`).join('');
      const buf = Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\n${lines}\r\n`);
      expect(head.read(buf, 0, buf.length)).toBe(HeadStatus.COMPLETE);
      expect(head.headerCount).toBe(headers);
      const last = (headers - 1) * 5;
      expect(buf.toString('latin1', head.offsets[last], head.offsets[last + 4])).toBe(
        headers === 1 ? 'Host: a\r\n' : `A${headers - 2}: b\r\n`,
      );
      expect(head.offsets[last + 4]).toBe(buf.length - 2);
    }
  });
});
