import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, type RawResponse, rawClient } from '../helpers/raw-client.ts';
import { type HeldPort, refusingPort } from '../helpers/refusing-port.ts';

describe('evenkeel itself answers by the contract, and nothing of the inside leaks', () => {
  let origin: Origin;
  let dead: HeldPort;
  let proxy: RunningProxy;

  beforeAll(async () => {
    origin = await startOrigin({ name: 'everything else' });
    dead = await refusingPort();
    proxy = await startProxy({
      log: { access: 'stdout' },
      runtime: { startTimeout: '1s' },
      registries: { own: { kind: 'embedded', bind: '127.0.0.1:0', data: './registry' } },
      listeners: [
        {
          name: 'web',
          bind: '127.0.0.1:0',
          routes: [
            { match: { path: '/dead' }, pool: 'dead' },
            { match: { path: '/empty' }, pool: 'empty' },
            { match: { path: '/drained' }, pool: 'drained' },
            { match: { host: 'known.example' }, pool: 'alive' },
          ],
        },
        {
          name: 'catch-all',
          bind: '127.0.0.2:0',
          routes: [{ match: { path: '/empty' }, pool: 'empty' }, { pool: 'alive' }],
        },
      ],
      pools: {
        dead: { endpoints: [{ address: dead.address }] },
        empty: { discover: { registry: 'own', service: 'nobody' } },
        drained: { endpoints: [{ address: origin.address }] },
        alive: { endpoints: [{ address: origin.address }] },
      },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await origin.close();
    await dead.close();
  });

  function expectOwn(response: RawResponse, status: number, reason: string): void {
    expect([response.status, response.fields.get('x-evenkeel-reason')]).toEqual([status, reason]);
    expect(response.fields.get('content-type')).toMatch(/^text\/plain/);
    expect(response.fields.get('content-length')).toBe(String(response.body.length));
    expect(response.fields.get('date')).toBeDefined();
    expect(response.text.length).toBeLessThan(200);
    const all = `${response.fields.lines.join('\n')}\n${response.text}`;
    expect(all).not.toMatch(/127\.0\.0|\d{4,}:|Error|at .*\.ts|node|undici/);
    expect(all).not.toContain(String(dead.port));
  }

  it('502 connect-failed when every endpoint is dead', async () => {
    for (let i = 0; i < 3; i++) expectOwn(await ask(proxy.port(), 'GET', '/dead'), 502, 'connect-failed');
  });

  it('503 no-endpoint for a pool without endpoints, never another route', async () => {
    expectOwn(await ask(proxy.port(), 'GET', '/empty'), 503, 'no-endpoint');
    await using client = await rawClient(proxy.port('catch-all'), { host: '127.0.0.2' });
    expectOwn(await client.ask('GET', '/empty'), 503, 'no-endpoint');
    expect((await client.ask('GET', '/other')).text).toBe('everything else');
    expect(origin.requests.some(({ target }) => target === '/empty')).toBe(false);
  });

  it.each(['drain', 'maintenance'])('503 no-endpoint for a pool whose only endpoint is in %s', async (state) => {
    const path = `/api/v1/pools/drained/endpoints/${origin.address}`;
    await proxy.api(path, { method: 'PATCH', body: { state } });
    expectOwn(await ask(proxy.port(), 'GET', '/drained'), 503, 'no-endpoint');
    await proxy.api(path, { method: 'PATCH', body: { state: 'ready' } });
    expect((await ask(proxy.port(), 'GET', '/drained')).status).toBe(200);
  });

  it('404 no-route for a host or path nobody serves', async () => {
    expectOwn(await ask(proxy.port(), 'GET', '/nowhere'), 404, 'no-route');
    expectOwn(await ask(proxy.port(), 'POST', '/nowhere', [], 'with a body'), 404, 'no-route');
    expect((await ask(proxy.port(), 'GET', '/nowhere', ['Host: known.example'])).status).toBe(200);
  });

  it('501 not-implemented for CONNECT', async () => {
    expectOwn(
      await ask(proxy.port(), 'CONNECT', 'known.example:443', ['Host: known.example:443']),
      501,
      'not-implemented',
    );
  });

  it('400, 505: what is not HTTP/1.1', async () => {
    for (const [bytes, status, reason] of [
      ['GET / HTTP/1.1\r\n\r\n', 400, 'bad-request'],
      ['GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400, 'bad-request'],
      ['GET /\r\n\r\n', 400, 'bad-request'],
      ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400, 'bad-request'],
      ['GET / HTTP/3.0\r\nHost: a\r\n\r\n', 505, 'version-not-supported'],
      ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n', 400, 'bad-request'],
    ] as const) {
      await using client = await rawClient(proxy.port());
      client.write(bytes);
      const response = await client.response();
      expectOwn(response, status, reason);
      expect(response.fields.get('connection')).toBe('close');
      expect(await client.ended()).toBe('end');
    }
  });

  it('says the same word in access log and metrics', async () => {
    for (const [reason, status] of [
      ['connect-failed', 502],
      ['no-endpoint', 503],
      ['no-route', 404],
      ['not-implemented', 501],
      ['bad-request', 400],
    ] as const) {
      const line = await eventually(() => proxy.accessLines().find((one) => one.reason === reason) ?? null);
      expect(line.status).toBe(status);
      await eventually(async () => (await proxy.metric('evenkeel_rejected_total', { reason })) > 0);
    }
  });
});
