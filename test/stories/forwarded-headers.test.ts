import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Fields } from '../helpers/http-message.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask } from '../helpers/raw-client.ts';

describe('what an endpoint is told about the client and the connection', () => {
  let origin: Origin;
  let proxy: RunningProxy;

  beforeAll(async () => {
    origin = await startOrigin();
    const endpoints = [{ address: origin.address }];
    proxy = await startProxy({
      listeners: [
        { name: 'strangers', bind: '127.0.0.1:0', pool: 'keep' },
        { name: 'trusting', bind: '127.0.0.1:0', pool: 'keep', trustForwarded: ['127.0.0.0/8'] },
        {
          name: 'editing',
          bind: '127.0.0.1:0',
          routes: [
            {
              pool: 'keep',
              middleware: [
                { kind: 'headers', request: { 'x-user': 'ann' }, response: { 'x-inner': null, 'x-set': 'mine' } },
              ],
            },
          ],
        },
        { name: 'renaming', bind: '127.0.0.1:0', pool: 'endpoint' },
      ],
      pools: { keep: { endpoints }, endpoint: { endpoints, host: 'endpoint' } },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await origin.close();
  });

  async function seen(listener: string, lines: readonly string[]): Promise<Fields> {
    await ask(proxy.port(listener), 'GET', '/', lines);
    return origin.requests.at(-1)!.fields;
  }

  const LIES = [
    'X-Forwarded-For: 6.6.6.6',
    'X-Forwarded-For: 7.7.7.7',
    'X-Forwarded-Proto: https',
    'X-Forwarded-Host: evil.example',
    'X-Forwarded-Port: 666',
    'X-Forwarded-Prefix: /evil',
    'x_forwarded_ssl: evil',
    'X-Real-IP: 6.6.6.6',
    'Forwarded: for=6.6.6.6',
  ];

  it('says client, protocol and host', async () => {
    const fields = await seen('strangers', ['Host: shop.example:8080']);
    expect(fields.get('x-forwarded-for')).toBe('127.0.0.1');
    expect(fields.get('x-forwarded-proto')).toBe('http');
    expect(fields.get('x-forwarded-host')).toBe('shop.example:8080');
    expect(fields.get('host')).toBe('shop.example:8080');
  });

  it('replaces what a stranger says, every line of it', async () => {
    const fields = await seen('strangers', LIES);
    expect(fields.all('x-forwarded-for')).toEqual(['127.0.0.1']);
    expect(fields.all('x-forwarded-proto')).toEqual(['http']);
    expect(fields.all('x-forwarded-host')).toEqual(['story']);
    expect(fields.lines.map(([, value]) => value).join('\n')).not.toMatch(/6\.6\.6\.6|7\.7\.7\.7|666|evil/);
  });

  it('appends to what a trusted peer says', async () => {
    const fields = await seen('trusting', LIES);
    expect(fields.all('x-forwarded-for')).toEqual(['6.6.6.6, 7.7.7.7, 127.0.0.1']);
    expect(fields.all('x-forwarded-proto')).toEqual(['https']);
    expect(fields.all('x-forwarded-host')).toEqual(['evil.example']);
    expect(fields.get('forwarded')).toMatch(/^for=6\.6\.6\.6, for=127\.0\.0\.1;/);
  });

  it('sends the address of the endpoint as Host where the pool says so, and the name asked for as X-Forwarded-Host', async () => {
    const fields = await seen('renaming', ['Host: shop.example']);
    expect(fields.all('host')).toEqual([origin.address]);
    expect(fields.get('x-forwarded-host')).toBe('shop.example');
  });

  it('cuts hop-by-hop lines and those that Connection names', async () => {
    const fields = await seen('strangers', [
      'Connection: keep-alive, X-Secret',
      'Connection: x-other',
      'X-Secret: 1',
      'x-other: 2',
      'Keep-Alive: timeout=5',
      'Proxy-Connection: keep-alive',
      'Proxy-Authorization: Basic eA==',
      'TE: trailers, deflate',
      'Upgrade: h2c',
      'X-Stays: 3',
    ]);
    const cut = [
      'connection',
      'x-secret',
      'x-other',
      'keep-alive',
      'proxy-connection',
      'proxy-authorization',
      'upgrade',
    ];
    expect(fields.names.filter((name) => cut.includes(name))).toEqual([]);
    expect(fields.get('te')).toBe('trailers');
    expect(fields.get('x-stays')).toBe('3');
  });

  it('does not let Connection take away what evenkeel itself says', async () => {
    const before = origin.requests.length;
    for (const name of ['X-Forwarded-For', 'Host', 'Content-Length', 'X-Real-IP', 'X-Forwarded-Prefix', 'Forwarded']) {
      const lines = [`Connection: close, ${name}`, 'Content-Length: 0'];
      expect((await ask(proxy.port('strangers'), 'GET', '/', lines)).status, name).toBe(400);
    }
    expect(origin.requests.length).toBe(before);
  });

  it('cuts hop-by-hop lines of a response, and what it says of itself from a stranger', async () => {
    origin.handler = (_, reply) =>
      void reply.send(200, 'ok', [
        'Connection: keep-alive, X-Inner',
        'X-Inner: 1',
        'Keep-Alive: timeout=9',
        'Proxy-Authenticate: Basic',
        'X-Evenkeel-Reason: limit',
        'Set-Cookie: a=1',
        'set-cookie: b=2',
        'Server: origin',
      ]);
    const { fields, reason } = await ask(proxy.port('strangers'), 'GET', '/');
    const cut = ['connection', 'x-inner', 'keep-alive', 'proxy-authenticate', 'x-evenkeel-reason'];
    expect(fields.names.filter((name) => cut.includes(name))).toEqual([]);
    expect(fields.all('set-cookie')).toEqual(['a=1', 'b=2']);
    expect(fields.get('server')).toBe('origin');
    expect(reason).toBe('OK');
  });

  it('carries trailers both ways, and none that would change framing or routing', async () => {
    origin.handler = async (asked, reply) => {
      await asked.ended;
      reply.raw(
        'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\ncontent-length: 9\r\n\r\n',
      );
    };
    const body = '2\r\nhi\r\n0\r\nX-Check: abc\r\nHost: evil\r\nTransfer-Encoding: chunked\r\n\r\n';
    const response = await ask(
      proxy.port('strangers'),
      'POST',
      '/',
      ['Transfer-Encoding: chunked', 'TE: trailers'],
      body,
    );
    const asked = origin.requests.at(-1)!;
    expect(asked.body.toString()).toBe('hi');
    expect(asked.trailers.lines).toEqual([['X-Check', 'abc']]);
    expect(response.text).toBe('ok');
    expect(response.trailers.lines).toEqual([['x-sum', '1']]);
    expect(origin.faults).toEqual([]);
  });

  it('lets no trailer bring back what a middleware set or removed', async () => {
    origin.handler = async (asked, reply) => {
      await asked.ended;
      const trailers = 'X-Inner: 1\r\nx-sum: 2\r\nx-set: 3\r\n';
      reply.raw(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-inner: 0\r\n\r\n2\r\nok\r\n0\r\n${trailers}\r\n`);
    };
    const body = '2\r\nhi\r\n0\r\nX-User: admin\r\nX-Check: abc\r\n\r\n';
    const response = await ask(proxy.port('editing'), 'POST', '/', ['Transfer-Encoding: chunked'], body);
    const asked = origin.requests.at(-1)!;
    expect([asked.fields.all('x-user'), asked.trailers.lines]).toEqual([['ann'], [['X-Check', 'abc']]]);
    const { fields, trailers, text } = response;
    expect([text, fields.get('x-inner'), fields.get('x-set')]).toEqual(['ok', undefined, 'mine']);
    expect(trailers.lines).toEqual([['x-sum', '2']]);
  });

  it('passes method, target, query, unknown methods and bytes above ASCII on as they came', async () => {
    origin.handler = (asked, reply) => void reply.send(200, `${asked.method} ${asked.target}`);
    const response = await ask(proxy.port('strangers'), 'BREW', '/pot/%C3%A9?q=a%20b&&x=%2F', ['X-Name: caf\xe9']);
    expect(response.text).toBe('BREW /pot/%C3%A9?q=a%20b&&x=%2F');
    expect(origin.requests.at(-1)!.fields.get('x-name')).toBe('caf\xe9');
  });
});
