import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../../../src/proxy/byte-writer.ts';
import { HeaderEdits } from '../../../../src/proxy/http1/header-edits.ts';
import { BodyFraming, Persistence, writeResponseHead } from '../../../../src/proxy/http1/response-head.ts';
import { HeadStatus } from '../../../../src/wire/http1/head-status.ts';
import { ResponseHead } from '../../../../src/wire/http1/response-head.ts';

function written(
  lines: readonly string[],
  framing: BodyFraming,
  persistence: Persistence = Persistence.DEFAULT,
  edits = new HeaderEdits(),
): string[] {
  const head = new ResponseHead({ headBytes: 65_536, headers: 100, target: 0 });
  const buf = Buffer.from(`..${lines.join('\r\n')}\r\n\r\nbody`, 'latin1');
  expect(head.read(buf, 2, buf.length)).toBe(HeadStatus.COMPLETE);
  const writer = new ByteWriter();
  writeResponseHead(writer, head, buf, framing, persistence, edits, null);
  return writer.take().toString('latin1').split('\r\n').slice(0, -2);
}

const OK = 'HTTP/1.1 200 OK';

describe('the head that a client gets', () => {
  it('keeps status, reason phrase, order, case and repeats', () => {
    const lines = ['HTTP/1.0 299 Quite fine', 'Set-Cookie: a', 'X-A: 1', 'set-cookie: b', 'Content-Length: 4'];
    expect(written(lines, BodyFraming.LENGTH)).toEqual([
      'HTTP/1.1 299 Quite fine',
      'Set-Cookie: a',
      'X-A: 1',
      'set-cookie: b',
      'content-length: 4',
    ]);
  });

  it('has nothing that ends at this hop, nor words of ours that an endpoint says', () => {
    const lines = [
      OK,
      'connection: x-a, close',
      'x-a: 1',
      'keep-alive: timeout=5',
      'upgrade: h2c',
      'x-evenkeel-reason: no',
    ];
    expect(written(lines, BodyFraming.NONE)).toEqual([OK]);
  });

  it('frames the body for this client, whatever framed it on the way in', () => {
    const chunked = [OK, 'transfer-encoding: chunked'];
    expect(written(chunked, BodyFraming.CHUNKED)).toEqual([OK, 'transfer-encoding: chunked']);
    expect(written(chunked, BodyFraming.UNTIL_CLOSE, Persistence.CLOSE)).toEqual([OK, 'connection: close']);
    expect(written([OK, 'content-length: 7'], BodyFraming.NONE)).toEqual([OK, 'content-length: 7']);
    expect(written(['HTTP/1.1 204 No Content', 'content-length: 0'], BodyFraming.NONE)).toEqual([
      'HTTP/1.1 204 No Content',
    ]);
  });

  it('says how the connection goes on', () => {
    expect(written([OK], BodyFraming.NONE, Persistence.KEEP_ALIVE)).toEqual([OK, 'connection: keep-alive']);
    const upgrade = ['HTTP/1.1 101 Switching Protocols', 'connection: upgrade', 'Upgrade: websocket'];
    expect(written(upgrade, BodyFraming.NONE, Persistence.UPGRADE)).toEqual([
      'HTTP/1.1 101 Switching Protocols',
      'connection: Upgrade',
      'Upgrade: websocket',
    ]);
  });

  it('has the edits of a middleware in place of the lines they name', () => {
    const edits = new HeaderEdits();
    edits.set('server', null);
    edits.set('x-a', '2');
    expect(written([OK, 'Server: secret', 'X-A: 1', 'x-b: 3'], BodyFraming.NONE, Persistence.DEFAULT, edits)).toEqual([
      OK,
      'x-b: 3',
      'x-a: 2',
    ]);
  });
});
