import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { freePort } from '../helpers/ports.ts';
import { RecordingSink } from '../helpers/recording-sink.ts';
import { requireServer } from '../helpers/require-server.ts';
import { startTcpLink } from '../helpers/tcp-link.ts';
import { describeRegistry, feedOf, ports, startedRegistry } from './registry-suite.ts';
import { findZookeeper, startZookeeper, type Zookeeper } from './zookeeper.ts';
import { APP_SESSION_MS, connectedSession, curatorRecord, zookeeperWorld } from './zookeeper-world.ts';

const skip = requireServer('zookeeper', findZookeeper());

describeRegistry({ kind: 'zookeeper', skip, expiryMs: APP_SESSION_MS + 500, start: zookeeperWorld });

describe.skipIf(skip)('the zookeeper registry', () => {
  let server: Zookeeper;
  let app: Awaited<ReturnType<typeof connectedSession>>;
  beforeAll(async () => {
    server = await startZookeeper();
    app = await connectedSession(`127.0.0.1:${server.port}`, 20_000);
  });
  afterAll(async () => {
    await app?.close();
    await server?.stop();
  });

  async function put(path: string, data: string): Promise<void> {
    await app.ensure(path.slice(0, path.lastIndexOf('/')));
    if (!(await app.create(path, Buffer.from(data), { isEphemeral: true }))) await app.set(path, Buffer.from(data));
  }

  it("reads Curator's and nerve's JSON, Dubbo's URLs and plain addresses, below a chroot", async (t) => {
    await put('/shop/services/mixed/i-1', curatorRecord('mixed', { port: 9001, weight: 3 }));
    await put('/shop/services/mixed/i-2', '{"host":"127.0.0.1","port":9002,"weight":2}');
    await put(`/shop/services/mixed/${encodeURIComponent('dubbo://127.0.0.1:9003/org.shop.Web?weight=50')}`, '');
    await put('/shop/services/mixed/i-4', '127.0.0.1:9004');
    await put('/shop/services/mixed/127.0.0.1:9005', '');
    await put('/shop/services/mixed/odd', '{"what":"ever"}');
    const log: string[] = [];
    const registry = await startedRegistry(t, { kind: 'zookeeper', address: `127.0.0.1:${server.port}/shop` }, log);
    const sink = new RecordingSink();
    registry.subscribe({ name: 'mixed', tags: [] }, sink);
    const told = ['9001 up 3', '9002 up 2', '9003 up 0.5', '9004 up 1', '9005 up 1'];
    await eventually(() => expect(sink.told).toEqual(told));
    expect(log.filter((line) => line.includes('"leftOut":1'))).toHaveLength(1);
  });

  for (const format of ['nerve', 'dubbo', 'plain'])
    it(`registers as ${format} where its consumers look, and reads it back`, async (t) => {
      const registry = await startedRegistry(t, { kind: 'zookeeper', address: `127.0.0.1:${server.port}`, format });
      const sink = new RecordingSink();
      registry.subscribe({ name: `as-${format}`, tags: [] }, sink);
      const self = { service: `as-${format}`, id: 'me', host: '127.0.0.1', port: 7001, weight: 1 };
      const registered = await registry.register!({ ...self, tags: [], metadata: {}, ttlMs: 5000 });
      await eventually(() => expect(sink.told).toEqual(['7001 up 1']));
      await registered.deregister();
      await eventually(() => expect(sink.told).toEqual([]));
    });

  it('keeps its endpoints through an expired session, and sees what changed meanwhile', async (t) => {
    const link = await startTcpLink(server.port);
    t.onTestFinished(() => link.close());
    for (const port of [9001, 9002, 9003]) await put(`/services/expired/${port}`, `127.0.0.1:${port}`);
    const registry = await startedRegistry(t, { kind: 'zookeeper', address: `127.0.0.1:${link.port}`, session: '1s' });
    const seen = feedOf(t, registry, 'expired');
    const own = { service: 'expired', id: 'own', host: '127.0.0.1', port: 9009, weight: 1, tags: [], metadata: {} };
    await registry.register!({ ...own, ttlMs: 1000 });
    await eventually(() => seen.set.length === 4);
    seen.smallest = 4;
    link.silence();
    await eventually(() => seen.feed.state.state === 'stale', { timeoutMs: 5000 });
    // The session is over when the node it kept is gone.
    await eventually(async () => (await app.exists('/services/expired/own')) === null, { timeoutMs: 5000 });
    await put('/services/expired/9002', '127.0.0.1:9102');
    link.restore();
    await eventually(() => seen.feed.state.error === null, { timeoutMs: 10_000 });
    const now = ['9001 up', '9002 unknown', '9003 up', '9009 up', '9102 up'];
    await eventually(() => expect(ports(seen.set).map((one) => one.replace('127.0.0.1:', ''))).toEqual(now), {
      timeoutMs: 5000,
    });
    expect(seen.smallest).toBeGreaterThanOrEqual(4);
    await put('/services/expired/9003', '127.0.0.1:9103');
    await eventually(() => expect(ports(seen.set)).toContain('9103 up'), { timeoutMs: 1000 });
  });

  it('goes on over another server when one resets the connection, without a word to its pools', async (t) => {
    const link = await startTcpLink(server.port);
    t.onTestFinished(() => link.close());
    await put('/services/moved/a', '127.0.0.1:9001');
    const refusing = await freePort();
    const address = `127.0.0.1:${refusing},127.0.0.1:${link.port},127.0.0.1:${server.port}`;
    const registry = await startedRegistry(t, { kind: 'zookeeper', address });
    const sink = new RecordingSink();
    registry.subscribe({ name: 'moved', tags: [] }, sink);
    await eventually(() => sink.told.length === 1);
    link.cut();
    await link.close();
    await put('/services/moved/b', '127.0.0.1:9002');
    await eventually(() => expect(sink.told).toEqual(['9001 up 1', '9002 up 1']), { timeoutMs: 5000 });
    expect(sink.errors).toEqual([]);
  });

  it('writes only over the version it has read', async () => {
    await put('/config/a', '1');
    const { stat } = (await app.get('/config/a'))!;
    expect(await app.set('/config/a', Buffer.from('2'), stat.version)).toMatchObject({ version: stat.version + 1 });
    expect(await app.set('/config/a', Buffer.from('3'), stat.version)).toBeNull();
    expect(await app.set('/config/none', Buffer.from('3'), 0)).toBeNull();
    expect((await app.get('/config/a'))!.data.toString()).toBe('2');
    expect(await app.delete('/config/a', stat.version)).toBe(false);
    expect(await app.delete('/config/a', stat.version + 1)).toBe(true);
    await expect(app.create('/nowhere/a', Buffer.alloc(0))).rejects.toMatchObject({ code: 'registry-unknown' });
  });

  it('sees a service that is not there yet come, go with its node, and come again', async (t) => {
    const registry = await startedRegistry(t, { kind: 'zookeeper', address: `127.0.0.1:${server.port}` });
    const sink = new RecordingSink();
    registry.subscribe({ name: 'coming', tags: [] }, sink);
    await eventually(() => sink.sets.length > 0);
    for (const port of [9001, 9002]) {
      await put('/services/coming/a', `127.0.0.1:${port}`);
      await eventually(() => expect(sink.told).toEqual([`${port} up 1`]), { timeoutMs: 1000 });
      await app.delete('/services/coming/a');
      await app.delete('/services/coming');
      await eventually(() => expect(sink.told).toEqual([]), { timeoutMs: 1000 });
    }
  });

  it('keeps others from changing what it registered with its user and password, and lets them read it', async (t) => {
    const keeper = await startedRegistry(t, {
      kind: 'zookeeper',
      address: `127.0.0.1:${server.port}`,
      auth: 'ann:secret',
    });
    const own = { service: 'closed', id: 'own', host: '127.0.0.1', port: 9001, weight: 1, tags: [], metadata: {} };
    await keeper.register!({ ...own, ttlMs: 5000 });
    await eventually(async () => (await app.exists('/services/closed/own')) !== null);
    // Everybody reads what an authenticated registry wrote, nobody else writes it.
    await expect(app.set('/services/closed/own', Buffer.from('x'))).rejects.toMatchObject({ code: 'registry-denied' });
    expect((await app.get('/services/closed/own'))?.data.toString()).toContain('9001');
  });
});
