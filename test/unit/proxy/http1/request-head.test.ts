import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../../../src/proxy/byte-writer.ts';
import { HeaderEdits } from '../../../../src/proxy/http1/header-edits.ts';
import { type ForwardOptions, writeRequestHead } from '../../../../src/proxy/http1/request-head.ts';
import { RequestView } from '../../../../src/proxy/http1/request-view.ts';
import { HeadStatus } from '../../../../src/wire/http1/head-status.ts';
import { RequestHead } from '../../../../src/wire/http1/request-head.ts';

const LIMITS = { headBytes: 16_384, headers: 100, target: 8192 };
const OPTIONS: ForwardOptions = {
  peerAddress: '192.0.2.7',
  trusted: false,
  secure: false,
  host: null,
  attempt: 1,
  upgrade: false,
  via: null,
  edits: new HeaderEdits(),
};

function read(lines: readonly string[]): { head: RequestHead; buf: Buffer } {
  const head = new RequestHead(LIMITS);
  // Something before the head: offsets are not counted from 0.
  const buf = Buffer.from(`....${lines.join('\r\n')}\r\n\r\nbody`, 'latin1');
  expect(head.read(buf, 4, buf.length)).toBe(HeadStatus.COMPLETE);
  return { head, buf };
}

/** The head an endpoint gets for these lines. */
function written(lines: readonly string[], options: Partial<ForwardOptions> = {}): string[] {
  const { head, buf } = read(lines);
  const writer = new ByteWriter();
  writer.text('left over');
  writeRequestHead(writer, head, buf, { ...OPTIONS, ...options });
  const text = writer.take().toString('latin1');
  expect(text.endsWith('\r\n\r\n')).toBe(true);
  return text.slice(0, -4).split('\r\n');
}

const OURS = ['X-Forwarded-For: 192.0.2.7', 'X-Forwarded-Proto: http', 'X-Forwarded-Host: a'];

describe('the head that an endpoint gets', () => {
  it('has the lines of the client as they came, in order, and ours behind', () => {
    expect(written(['GET /x?y=1 HTTP/1.0', 'host: a', 'accept:  a/b ', 'X-One: 1', 'x-one: 2'])).toEqual([
      'GET /x?y=1 HTTP/1.1',
      'Host: a',
      'accept:  a/b ',
      'X-One: 1',
      'x-one: 2',
      ...OURS,
    ]);
  });

  it('has nothing that ends at this hop, and the framing written anew', () => {
    const lines = [
      'POST / HTTP/1.1',
      'host: a',
      'Connection: close, x-private',
      'X-Private: 1',
      'keep-alive: timeout=5',
      'TE: gzip, trailers',
      'Proxy-Authorization: secret',
      'proxy-connection: close',
      'Content-Length: 04',
      'X-Evenkeel-Attempt: 9',
    ];
    expect(written(lines)).toEqual(['POST / HTTP/1.1', 'Host: a', 'Content-Length: 4', 'TE: trailers', ...OURS]);
    const chunked = written(['POST / HTTP/1.1', 'host: a', 'transfer-encoding:  Chunked']);
    expect(chunked.filter((line) => /encoding|length/i.test(line))).toEqual(['Transfer-Encoding: chunked']);
  });

  it.each([
    ['GET http://a/x?y HTTP/1.1', 'GET /x?y HTTP/1.1'],
    ['GET http://a HTTP/1.1', 'GET / HTTP/1.1'],
    ['GET http://a?q HTTP/1.1', 'GET /?q HTTP/1.1'],
    ['OPTIONS http://a HTTP/1.1', 'OPTIONS * HTTP/1.1'],
    ['OPTIONS http://a/ HTTP/1.1', 'OPTIONS / HTTP/1.1'],
    ['OPTIONS * HTTP/1.1', 'OPTIONS * HTTP/1.1'],
  ])('asks for %j as %j', (line, expected) => expect(written([line, 'host: a'])[0]).toBe(expected));

  it('says where the client is: over what strangers say, behind what trusted peers say', () => {
    const lines = [
      'GET / HTTP/1.1',
      'host: a',
      'X-Forwarded-For: 10.0.0.1',
      'x-forwarded-for: 10.0.0.2',
      'X-Forwarded-Proto: https',
      'X-Forwarded-Host: shop',
      'X-Real-IP: 10.0.0.1',
      'Forwarded: for=10.0.0.1',
    ];
    expect(written(lines).slice(2)).toEqual([...OURS, 'X-Real-IP: 192.0.2.7', 'Forwarded: for=192.0.2.7;proto=http']);
    expect(written(lines, { trusted: true, peerAddress: '2001:db8::1' }).slice(2)).toEqual([
      'X-Forwarded-Proto: https',
      'X-Forwarded-Host: shop',
      'X-Real-IP: 10.0.0.1',
      'X-Forwarded-For: 10.0.0.1, 10.0.0.2, 2001:db8::1',
      'Forwarded: for=10.0.0.1, for="[2001:db8::1]";proto=http',
    ]);
  });

  it('has the host, the edits and the attempt it is told', () => {
    const edits = new HeaderEdits();
    edits.set('x-one', 'new');
    edits.set('cookie', null);
    const lines = ['GET / HTTP/1.1', 'host: a', 'X-One: old', 'Cookie: c', 'x-two: 2'];
    expect(written(lines, { edits, attempt: 2, host: '127.0.0.1:1' })).toEqual([
      'GET / HTTP/1.1',
      'Host: 127.0.0.1:1',
      'x-two: 2',
      ...OURS,
      'X-Evenkeel-Attempt: 2',
      'x-one: new',
    ]);
  });

  it('carries an upgrade only when told to', () => {
    const lines = ['GET / HTTP/1.1', 'host: a', 'connection: Upgrade', 'Upgrade: websocket'];
    expect(written(lines)).toEqual(['GET / HTTP/1.1', 'Host: a', ...OURS]);
    expect(written(lines, { upgrade: true }).slice(2, 4)).toEqual(['Connection: Upgrade', 'Upgrade: websocket']);
  });
});

describe('the address of a client behind trusted proxies', () => {
  class View extends RequestView {
    constructor(lines: readonly string[]) {
      const { head, buf } = read(['GET / HTTP/1.1', 'host: a', ...lines]);
      super(head);
      this.bytes = buf;
    }

    get client(): string {
      return this.forwardedAddress('10.0.0.1', (address) => address.startsWith('10.'));
    }
  }

  it.each([
    [[], '10.0.0.1'],
    [['x-forwarded-for: 192.0.2.1'], '192.0.2.1'],
    // What stands before the last stranger is what that stranger wrote.
    [['x-forwarded-for: 6.6.6.6, 192.0.2.1, 10.0.0.2'], '192.0.2.1'],
    [['x-forwarded-for: 6.6.6.6', 'X-Forwarded-For: 192.0.2.1'], '192.0.2.1'],
    [['x-forwarded-for: 10.0.0.9, 10.0.0.2'], '10.0.0.9'],
    [['x-forwarded-for: 192.0.2.1, ","evil":"'], '10.0.0.1'],
    [['x-forwarded-for: unknown, 10.0.0.3'], '10.0.0.3'],
    [['x-forwarded-for: 2001:db8::1'], '2001:db8::1'],
    [['x-forwarded-for: 6.6.6.6, 192.0.2.1:4711, 10.0.0.2:80'], '192.0.2.1'],
    [['x-forwarded-for: 6.6.6.6, [2001:db8::1]:4711'], '2001:db8::1'],
    [['x-forwarded-for: 6.6.6.6, ::ffff:10.0.0.2'], '6.6.6.6'],
    [['x-forwarded-for: 6.6.6.6,,'], '10.0.0.1'],
    [['x-forwarded-for:'], '10.0.0.1'],
    [['forwarded: for=6.6.6.6, for=192.0.2.1;proto=http, For="10.0.0.2:80"'], '192.0.2.1'],
    [['forwarded: for=6.6.6.6', 'Forwarded: by=a;for="[2001:db8::1]:4711"'], '2001:db8::1'],
    [['forwarded: for=6.6.6.6, for=unknown, for=10.0.0.2'], '10.0.0.2'],
    [['forwarded: for=6.6.6.6;for=192.0.2.1'], '10.0.0.1'],
    [['forwarded: for="6.6.6.6, for=192.0.2.1"'], '10.0.0.1'],
    [['forwarded: host=";for=6.6.6.6"'], '10.0.0.1'],
    // A proxy that writes X-Forwarded-For is believed in that; what a client adds in the other spelling is not looked at.
    [['forwarded: for=6.6.6.6', 'x-forwarded-for: 192.0.2.1'], '192.0.2.1'],
  ])('by %j is %s', (lines, expected) => expect(new View(lines).client).toBe(expected));
});
