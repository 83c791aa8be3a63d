import { lookup } from 'node:dns/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { formatHostPort } from '../../src/base/literals.ts';
import { runCommandLine } from '../../src/cli/command-line.ts';
import { eventually } from '../helpers/eventually.ts';
import { startLoad } from '../helpers/load.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { freePort } from '../helpers/ports.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient, request } from '../helpers/raw-client.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';

describe('what the admin API says takes effect at once', () => {
  let origins: Origin[];
  let proxy: RunningProxy;

  beforeAll(async () => {
    origins = await Promise.all(['red', 'green', 'blue'].map((name) => startOrigin({ name })));
    proxy = await startProxy({
      runtime: { workers: 2 },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: {
        web: { endpoints: origins.map(({ address }) => ({ address })), scheduler: 'weighted-round-robin' },
      },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    for (const origin of origins) await origin.close();
  });

  beforeEach(async () => {
    for (const origin of origins) {
      origin.handler = (_, reply) => void reply.send(200, origin.name);
      await change(origin, { state: 'ready', weight: 1 });
    }
  });

  const change = (origin: Origin, body: object) =>
    proxy.api(`/api/v1/pools/web/endpoints/${origin.address}`, { method: 'PATCH', body });

  async function shares(count: number): Promise<Record<string, number>> {
    const counts: Record<string, number> = { red: 0, green: 0, blue: 0 };
    await using client = await rawClient(proxy.port());
    for (let i = 0; i < count; i++) counts[(await client.ask('GET', '/')).text]++;
    return counts;
  }

  it.each(['drain', 'maintenance'])(
    '%s: no request after the answer to it, on any worker, and none is lost',
    async (state) => {
      const [red] = origins;
      await using load = startLoad(proxy.port(), { connections: 6 });
      await eventually(() => load.answered > 50);
      const answer = await change(red, { state });
      expect(answer).toMatchObject({ id: red.address, available: false, down: ['admin'] });
      // What was already picked may still be on its way.
      await eventually(async () => (await proxy.endpoint('web', red.address)).active === 0);
      const before = red.requests.length;
      const answered = load.answered;
      await eventually(() => load.answered > answered + 100);
      expect(red.requests.length).toBe(before);
      await change(red, { state: 'ready' });
      await eventually(() => red.requests.length > before);
      await load.stop();
      expect(load.lost).toEqual([]);
      expect([...load.statuses.keys()]).toEqual([200]);
    },
  );

  it('drain: what is there already is finished', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    for (const origin of origins) {
      origin.handler = async (_, reply) => {
        await released;
        reply.send(200, origin.name);
      };
    }
    const clients = await Promise.all(Array.from({ length: 6 }, () => rawClient(proxy.port())));
    for (const client of clients) client.write(request('GET', '/held'));
    const held = () => origins.flatMap(({ requests }) => requests.filter(({ target }) => target === '/held'));
    await eventually(() => held().length === 6);
    for (const origin of origins.slice(0, 2)) await change(origin, { state: 'drain' });
    release();
    const texts = (await Promise.all(clients.map((client) => client.response()))).map(({ text }) => text);
    expect(new Set(texts)).toEqual(new Set(['red', 'green', 'blue']));
    expect(await shares(10)).toEqual({ red: 0, green: 0, blue: 10 });
    for (const client of clients) client.socket.destroy();
  });

  it('weight: shares follow it exactly, and 0 takes no new traffic', async () => {
    await change(origins[0], { weight: 3 });
    const heavy = await shares(50);
    expect(heavy).toEqual({ red: 30, green: 10, blue: 10 });
    await change(origins[0], { weight: 0 });
    expect((await shares(20)).red).toBe(0);
    expect((await proxy.endpoint('web', origins[0].address)).weight).toBe(0);
  });

  it('refuses what it does not know, and changes nothing', async () => {
    await expect(change(origins[0], { state: 'asleep' })).rejects.toThrow(/400/);
    await expect(change(origins[0], { weight: -1 })).rejects.toThrow(/400/);
    await expect(
      proxy.api('/api/v1/pools/web/endpoints/127.0.0.1:1', { method: 'PATCH', body: { weight: 1 } }),
    ).rejects.toThrow(/404/);
    await expect(
      proxy.api('/api/v1/pools/none/endpoints/127.0.0.1:1', { method: 'PATCH', body: { weight: 1 } }),
    ).rejects.toThrow(/404/);
    expect((await proxy.endpoint('web', origins[0].address)).available).toBe(true);
    expect((await ask(proxy.port(), 'GET', '/')).status).toBe(200);
  });
});

describe('a token that stands in a file', () => {
  it('is read by the commands, too, that ask the running process', async () => {
    await using place = await temporaryDirectory('token');
    const file = await place.write('token', 'hunter2-hunter2\n');
    await using proxy = await startProxy({
      admin: { token: `file:${file}` },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: '127.0.0.1:1' }] } },
    });
    const reload = async () => {
      const error: string[] = [];
      const terminal = {
        out() {},
        error: (text: string) => void error.push(text),
        environment: {},
        directory: proxy.directory,
      };
      const document = `${proxy.directory}/evenkeel.yaml`;
      const status = await runCommandLine(['reload', '-c', document, '--admin', proxy.admin.slice(7)], terminal);
      return { status, error: error.join('') };
    };
    expect(await reload()).toEqual({ status: 0, error: '' });
    // The process has read it already; a reload would fail, and so does the question.
    await place.write('token', 'another\n');
    expect(await reload()).toMatchObject({
      status: 1,
      error: expect.stringContaining('send the token of admin.token'),
    });
  });
});

describe('the address of the admin API', () => {
  it('may be called by another name in a reload: it is our own', async () => {
    const { address } = await lookup('localhost');
    const port = await freePort(address);
    const document = (bind: string, token = '') => ({
      admin: { bind, token },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: '127.0.0.1:1' }] } },
    });
    await using proxy = await startProxy(document(formatHostPort(address, port)));
    await proxy.write(document(`localhost:${port}`, 'hunter2-hunter2'));
    expect(await proxy.reload()).toBe('reloaded');
    await expect(proxy.api('/api/v1/status')).rejects.toThrow(/401/);
    await proxy.write(document(formatHostPort(address, port)));
    expect(await proxy.reload()).toBe('reloaded');
    expect((await proxy.api('/api/v1/config')).document.admin.bind).toBe(formatHostPort(address, port));
  });
});
