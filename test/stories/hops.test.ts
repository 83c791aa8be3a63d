import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { freePort } from '../helpers/ports.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient } from '../helpers/raw-client.ts';

describe('a request knows how many hops it has made and may make', () => {
  let origin: Origin;
  let proxy: RunningProxy;

  beforeAll(async () => {
    origin = await startOrigin();
    const loop = await freePort();
    proxy = await startProxy({
      listeners: [
        { name: 'shown', bind: '127.0.0.1:0', via: 'edge-1', pool: 'web' },
        { name: 'silent', bind: '127.0.0.1:0', pool: 'web' },
        { name: 'looping', bind: `127.0.0.1:${loop}`, via: 'Edge-2:80', pool: 'itself' },
        {
          name: 'editing',
          bind: '127.0.0.1:0',
          routes: [
            {
              pool: 'web',
              middleware: [
                {
                  kind: 'headers',
                  request: {
                    'X-Forwarded-For': '192.0.2.1',
                    'x-forwarded-proto': 'wss',
                    'X-Forwarded-Host': null,
                    'x-real-ip': '192.0.2.2',
                    forwarded: null,
                  },
                },
              ],
            },
          ],
        },
      ],
      pools: {
        web: { endpoints: [{ address: origin.address }] },
        itself: { endpoints: [{ address: `127.0.0.1:${loop}` }], retry: 'off' },
      },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await origin.close();
  });

  beforeEach(() => {
    origin.handler = (_, reply) => void reply.send(200, 'ok', ['Via: 1.1 inner']);
  });

  it('names itself in Via, behind who came before, by the version it was asked in, and in the response', async () => {
    const response = await ask(proxy.port('shown'), 'GET', '/', [
      'Via: 1.0 a (b, 1.1 edge-1 (c)), 1.1 edge-11',
      'via: 1.1 not-edge-1',
    ]);
    expect(response.status).toBe(200);
    expect(origin.requests.at(-1)?.fields.get('via')).toBe(
      '1.0 a (b, 1.1 edge-1 (c)), 1.1 edge-11, 1.1 not-edge-1, 1.1 edge-1',
    );
    expect(response.fields.get('via')).toBe('1.1 inner, 1.1 edge-1');
    await using old = await rawClient(proxy.port('shown'));
    old.write('GET / HTTP/1.0\r\nHost: story\r\n\r\n');
    await old.response();
    expect(origin.requests.at(-1)?.fields.get('via')).toBe('1.0 edge-1');
  });

  it('says nothing of itself where the document does not ask for it', async () => {
    const response = await ask(proxy.port('silent'), 'GET', '/', ['Via: 1.1 edge-1']);
    expect(origin.requests.at(-1)?.fields.get('via')).toBe('1.1 edge-1');
    expect(response.fields.get('via')).toBe('1.1 inner');
  });

  it('answers 508 to a request that comes back', async () => {
    for (const [listener, lines] of [
      ['shown', ['Via: 1.1 EDGE-1']],
      ['shown', ['Via: 1.1 a', 'Via: HTTP/1.1 edge-1 (x), 1.1 b']],
    ] as const) {
      const response = await ask(proxy.port(listener), 'GET', '/', lines);
      expect([response.status, response.fields.get('x-evenkeel-reason')]).toEqual([508, 'loop']);
    }
    expect((await ask(proxy.port('looping'), 'GET', '/')).status).toBe(508);
    expect(await proxy.metric('evenkeel_rejected_total', { listener: 'looping', reason: 'loop' })).toBe(1);
  });

  it('takes one from Max-Forwards of TRACE and OPTIONS, and leaves it to others', async () => {
    for (const [method, value, expected] of [
      ['OPTIONS', '3', '2'],
      ['TRACE', '1', '0'],
      ['OPTIONS', '99999999999', '999998'],
      ['GET', '0', '0'],
      ['GET', 'x', 'x'],
    ]) {
      const response = await ask(proxy.port('silent'), method, '/', [`Max-Forwards: ${value}`]);
      expect(response.status, `${method} ${value}`).toBe(200);
      expect(origin.requests.at(-1)?.fields.all('max-forwards')).toEqual([expected]);
    }
  });

  it('answers itself when none is left, without what a front may have added', async () => {
    const before = origin.requests.length;
    const options = await ask(proxy.port('silent'), 'OPTIONS', '*', ['Max-Forwards: 0']);
    expect([options.status, options.text, options.fields.get('allow')]).toEqual([
      200,
      '',
      expect.stringContaining('GET'),
    ]);
    const trace = await ask(proxy.port('silent'), 'TRACE', '/a?b', [
      'Max-Forwards: 0',
      'Via: 1.1 a',
      'X-Inner-Token: secret',
      'Cookie: secret',
    ]);
    expect([trace.status, trace.fields.all('content-type')]).toEqual([200, ['message/http']]);
    expect(trace.text).toBe('TRACE /a?b HTTP/1.1\r\nhost: story\r\nMax-Forwards: 0\r\nVia: 1.1 a\r\n\r\n');
    for (const lines of [
      ['Max-Forwards: x'],
      ['Max-Forwards:'],
      ['Max-Forwards: -1'],
      ['Max-Forwards: 1', 'Max-Forwards: 1'],
    ])
      expect((await ask(proxy.port('silent'), 'OPTIONS', '/', lines)).status, lines.join()).toBe(400);
    expect(origin.requests.length).toBe(before);
  });

  it('says of the client what a middleware says, in one line each', async () => {
    await ask(proxy.port('editing'), 'GET', '/', [
      'X-Real-IP: 6.6.6.6',
      'Forwarded: for=6.6.6.6',
      'X-Forwarded-For: 6.6.6.6',
    ]);
    const { fields } = origin.requests.at(-1)!;
    expect(fields.all('x-forwarded-for')).toEqual(['192.0.2.1']);
    expect(fields.all('x-forwarded-proto')).toEqual(['wss']);
    expect(fields.all('x-forwarded-host')).toEqual([]);
    expect(fields.all('x-real-ip')).toEqual(['192.0.2.2']);
    expect(fields.all('forwarded')).toEqual([]);
  });
});
