import { request as httpRequest } from 'node:http';
import { setTimeout as later } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../../src/base/clock.ts';
import { RegistryServer } from '../../../../src/discovery/embedded/server.ts';
import { type EmbeddedRegistry, startRegistry } from '../../../helpers/embedded-registry.ts';
import { eventually } from '../../../helpers/eventually.ts';
import { temporaryDirectory } from '../../../helpers/temporary-directory.ts';

describe('RegistryServer', () => {
  let registry: EmbeddedRegistry;
  const register = (body: object) => registry.ask('PUT', '/v1/agent/service/register', body);

  beforeEach(async () => {
    registry = await startRegistry();
  });
  afterEach(() => registry.close());

  it('opens nothing before start and closes twice without harm', async () => {
    const server = new RegistryServer(
      { bind: '127.0.0.1:0', data: null },
      { clock: systemClock, random: Math.random, log() {} },
    );
    expect(() => server.address).toThrow('not listening');
    await server.close();
    await server.start();
    expect(server.address.port).toBeGreaterThan(0);
    await server.close();
    await server.close();
    expect(() => server.address).toThrow('not listening');
  });

  it('has who comes wait while it is taken back from a process that is gone', async () => {
    await using directory = await temporaryDirectory('registry');
    const server = new RegistryServer(
      { bind: '127.0.0.1:0', data: directory.path },
      { clock: systemClock, random: Math.random, log() {} },
    );
    await server.start();
    const { port } = server.address;
    await server.retire();
    server.give((client) => client.destroy());
    await later(10);
    const back = server.takeBack();
    expect((await fetch(`http://127.0.0.1:${port}/v1/catalog/services`)).status).toBe(200);
    await back;
    await server.close();
  });

  it('answers an index from the future within a second, though not at once', async () => {
    await register({ Name: 'a' });
    const { index } = await registry.ask('GET', '/v1/health/service/a');
    const began = performance.now();
    const reply = await registry.ask('GET', `/v1/health/service/a?index=${index + 1e6}&wait=5m`);
    expect(performance.now() - began).toBeLessThan(1300);
    expect(performance.now() - began).toBeGreaterThan(400);
    expect(reply.index).toBe(index);
  });

  it('wakes a waiting query at once', async () => {
    await register({ Name: 'a', Check: { TTL: '1m' } });
    const delays: number[] = [];
    for (let i = 0; i < 20; i++) {
      const { index } = await registry.ask('GET', '/v1/health/service/a');
      const waiting = registry.ask('GET', `/v1/health/service/a?index=${index}`).then(() => performance.now());
      await later(5);
      await registry.ask('PUT', `/v1/agent/check/${i % 2 === 0 ? 'pass' : 'fail'}/service:a`);
      const changed = performance.now();
      delays.push((await waiting) - changed);
    }
    delays.sort((a, b) => a - b);
    // 1 to 2 ms on an idle machine.
    expect(delays[10]).toBeLessThan(40);
  });

  it('forgets a waiting client that goes away', async () => {
    const waiting = new AbortController();
    const gone = fetch(`${registry.address}/v1/health/service/nope?index=${Date.now() * 2}`, {
      signal: waiting.signal,
    });
    await later(50);
    waiting.abort();
    await expect(gone).rejects.toThrow();
    await register({ Name: 'nope' });
    expect((await registry.ask('GET', '/v1/health/service/nope')).json).toHaveLength(1);
  });

  it('refuses a body of more than 512 KB with 413', async () => {
    const reply = await register({ Name: 'a', Notes: 'x'.repeat(600_000) });
    expect(reply.status).toBe(413);
    expect(reply.text).toContain('max size: 524288 bytes');
    expect((await register({ Name: 'a', Notes: 'x'.repeat(10_000_000) })).status).toBe(413);
    // The end of this one is not waited for: the client hears 413 or a cut connection.
    expect([413, 'cut']).toContain(
      await register({ Name: 'a', Notes: 'x'.repeat(40_000_000) }).then(
        ({ status }) => status,
        () => 'cut',
      ),
    );
    expect((await register({ Name: 'a' })).status).toBe(200);
  });

  it('compresses for those who can read it, and only them', async () => {
    for (let i = 0; i < 20; i++) await register({ Name: 'a', ID: `a-${i}` });
    const raw = async (encoding: string) => {
      const headers = { 'accept-encoding': encoding };
      return new Promise<{ encoding: string | undefined; body: Buffer }>((resolve, reject) => {
        httpRequest(`${registry.address}/v1/health/service/a`, { headers }, async (response) => {
          const body = Buffer.concat(await response.toArray());
          resolve({ encoding: response.headers['content-encoding'], body });
        })
          .on('error', reject)
          .end();
      });
    };
    const [plain, gzip, refused] = [await raw('identity'), await raw('br, gzip;q=0.5'), await raw('gzip;q=0')];
    expect([plain.encoding, gzip.encoding, refused.encoding]).toEqual([undefined, 'gzip', undefined]);
    expect(gunzipSync(gzip.body).equals(plain.body)).toBe(true);
    expect(gzip.body.length).toBeLessThan(plain.body.length / 4);
  });

  it('logs each unknown field of a registration once and ignores it', async () => {
    const body = { Name: 'a', Novel: 1, Check: { TTL: '1m', Newer: 2 } };
    expect((await register(body)).status).toBe(200);
    await register(body);
    expect(registry.log).toHaveLength(1);
    expect(registry.log[0]).toContain('"fields":["Check.Newer","Novel"]');
  });

  it('answers what it cannot decode with 400, not with a fault', async () => {
    expect((await registry.ask('GET', '/v1/health/service/%E0%A4%A')).status).toBe(400);
    expect((await register({ Name: 'a', TaggedAddresses: { lan: 'x' } })).status).toBe(400);
    expect(
      (await register({ Name: 'a', Check: { HTTP: 'http://x', Interval: '1s', Header: { a: 'b' } } })).status,
    ).toBe(400);
    const odd = await register({ Name: '__proto__', ID: '__proto__', Meta: { constructor: 'x' } });
    expect(odd.status).toBe(200);
    expect(Object.keys((await registry.ask('GET', '/v1/agent/services')).json)).toEqual(['__proto__']);
    expect(registry.log).toEqual([]);
  });

  it('sends all woken watchers the same answer, whatever they asked it to leave out', async () => {
    await register({ Name: 'a', Check: { TTL: '1m', Status: 'passing' } });
    const { index } = await registry.ask('GET', '/v1/health/service/a');
    const ask = (query: string) => registry.ask('GET', `/v1/health/service/a?index=${index}${query}`);
    const waiting = Promise.all(['', '&stale', '&wait=1m', '&passing', '&tag=x'].map(ask));
    await later(50);
    await registry.ask('PUT', '/v1/agent/check/fail/service:a');
    const [all, stale, wait, passing, tagged] = await waiting;
    expect(stale.text).toBe(all.text);
    expect(wait.text).toBe(all.text);
    expect(all.json).toHaveLength(1);
    expect(passing.json).toEqual([]);
    expect(tagged.json).toEqual([]);
  });

  it('tells a hash that waits for a service to change', async () => {
    await register({ Name: 'a', Port: 1 });
    const { json } = await registry.ask('GET', '/v1/agent/service/a');
    const waiting = registry.ask('GET', `/v1/agent/service/a?hash=${json.ContentHash}&wait=30s`);
    await later(50);
    await register({ Name: 'a', Port: 2 });
    const reply = await waiting;
    expect(reply.json.Port).toBe(2);
    expect(reply.headers.get('x-consul-contenthash')).not.toBe(json.ContentHash);
  });

  it('frees its port and its waiting clients when it closes', async () => {
    const waiting = registry.ask('GET', `/v1/catalog/services?index=${Date.now() * 2}`).then(
      () => 'answered',
      () => 'cut',
    );
    await later(30);
    await registry.close();
    expect(await waiting).toBe('cut');
    await eventually(async () => {
      await expect(fetch(registry.address)).rejects.toThrow();
      return true;
    });
  });
});
