import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EtcdClient } from '../../src/stores/etcd/etcd-client.ts';
import { eventually } from '../helpers/eventually.ts';
import { freePort } from '../helpers/ports.ts';
import { runProcess } from '../helpers/processes.ts';
import { RecordingSink } from '../helpers/recording-sink.ts';
import { requireServer } from '../helpers/require-server.ts';
import { startTcpLink } from '../helpers/tcp-link.ts';
import { type Etcd, findEtcd, startEtcd } from './etcd.ts';
import { etcdWorld, LEASE_S } from './etcd-world.ts';
import { describeRegistry, feedOf, startedRegistry } from './registry-suite.ts';

const skip = requireServer('etcd', findEtcd());

describeRegistry({ kind: 'etcd', skip, expiryMs: LEASE_S * 1000 + 1500, start: etcdWorld });

describe.skipIf(skip)('the etcd registry', () => {
  let server: Etcd;
  const encode = (text: string) => Buffer.from(text).toString('base64');
  const put = (key: string, value: string) => server.call('/v3/kv/put', { key: encode(key), value: encode(value) });
  const client = (more: object = {}) =>
    new EtcdClient({
      origins: [server.address],
      user: '',
      password: '',
      tls: { verify: true },
      timeoutMs: 3000,
      ...more,
    });
  beforeAll(async () => {
    server = await startEtcd();
  });
  afterAll(() => server?.stop());

  it('reads JSON, gRPC naming and plain addresses, as values that etcdctl wrote', async (t) => {
    const etcdctl = findEtcd('etcdctl')!;
    const write = (key: string, value: string) =>
      runProcess(etcdctl, [`--endpoints=${server.address}`, 'put', key, value], { env: { ETCDCTL_API: '3' } });
    await write('/services/mixed/a', '{"host":"127.0.0.1","port":9001,"weight":3}');
    await write('/services/mixed/b', '{"Op":0,"Addr":"127.0.0.1:9002","Metadata":null}');
    await write('/services/mixed/127.0.0.1:9003', '127.0.0.1:9003');
    await write('/services/mixed-other/c', '127.0.0.1:9004');
    const registry = await startedRegistry(t, { kind: 'etcd', address: server.address });
    const sink = new RecordingSink();
    registry.subscribe({ name: 'mixed', tags: [] }, sink);
    await eventually(() => expect(sink.told).toEqual(['9001 up 3', '9002 up 1', '9003 up 1']));
  });

  it('reads everything anew when the past it wanted was compacted, and goes on', async (t) => {
    const link = await startTcpLink(Number(new URL(server.address).port));
    t.onTestFinished(() => link.close());
    for (const port of [9001, 9002, 9003]) await put(`/services/old/${port}`, `127.0.0.1:${port}`);
    const registry = await startedRegistry(t, { kind: 'etcd', address: `http://127.0.0.1:${link.port}` });
    const seen = feedOf(t, registry, 'old');
    await eventually(() => seen.set.length === 3);
    link.silence();
    await put('/services/old/9004', '127.0.0.1:9004');
    const { header } = await put('/services/old/9005', '127.0.0.1:9005');
    await server.call('/v3/kv/compaction', { revision: header.revision, physical: true });
    await eventually(() => seen.feed.state.state === 'stale', { timeoutMs: 15_000 });
    link.restore();
    await eventually(() => expect(seen.set.map(({ port }) => port)).toEqual([9001, 9002, 9003, 9004, 9005]), {
      timeoutMs: 15_000,
    });
    await put('/services/old/9006', '127.0.0.1:9006');
    await eventually(() => seen.set.length === 6, { timeoutMs: 1000 });
  });

  it('tells a client that watches from a compacted revision, and puts only over what was read', async () => {
    const one = client();
    try {
      expect(await one.putIf('/config/a', Buffer.from('1'), 0)).toBe(true);
      expect(await one.putIf('/config/a', Buffer.from('2'), 0)).toBe(false);
      const { records, revision } = await one.range('/config/a');
      expect(records[0].value.toString()).toBe('1');
      expect(await one.putIf('/config/a', Buffer.from('3'), records[0].modRevision)).toBe(true);
      await one.delete('/config/a');
      await server.call('/v3/kv/compaction', { revision: String(revision + 2) });
      const ended = Promise.withResolvers<boolean>();
      one.watch('/config/', 1, {
        created: () => {},
        changed: () => {},
        ended: (_, isCompacted) => ended.resolve(isCompacted),
      });
      expect(await ended.promise).toBe(true);
    } finally {
      await one.close();
    }
  });

  it('leaves its key to the process that put it since, also when its own lease is over', async (t) => {
    const settings = { kind: 'etcd', address: server.address };
    const [old, next] = [await startedRegistry(t, settings), await startedRegistry(t, settings)];
    const self = { service: 'handed', id: 'me', host: '127.0.0.1', port: 7001, weight: 1, tags: [], metadata: {} };
    const leases = async (): Promise<string[]> =>
      ((await server.call('/v3/lease/leases', {})).leases ?? []).map(({ ID }: { ID: string }) => ID);
    const others = await leases();
    await old.register!({ ...self, ttlMs: 900 });
    const [over] = (await leases()).filter((id) => !others.includes(id));
    await next.register!({ ...self, ttlMs: 900 });
    const one = client();
    t.onTestFinished(() => one.close());
    const key = async () => (await one.range('/services/handed/me')).records[0];
    const { lease, modRevision } = await key();
    expect(lease).not.toBe(over);
    await server.call('/v3/lease/revoke', { ID: over });
    // Two rounds of both.
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(await key()).toMatchObject({ lease, modRevision });
    expect((await leases()).filter((id) => !others.includes(id))).toEqual([lease]);
  });

  it('asks the next server when one is away', async (t) => {
    await put('/services/next/a', '127.0.0.1:9001');
    const address = `http://127.0.0.1:${await freePort()},${server.address}`;
    const registry = await startedRegistry(t, { kind: 'etcd', address });
    const sink = new RecordingSink();
    registry.subscribe({ name: 'next', tags: [] }, sink);
    await eventually(() => expect(sink.told).toEqual(['9001 up 1']));
    expect(sink.errors).toEqual([]);
  });

  it('says that it may not read, and reads with its user and password, after a restart too', async (t) => {
    await put('/services/closed/a', '127.0.0.1:9001');
    const set = async (path: string, body: object) => server.call(`/v3/auth/${path}`, body);
    await set('user/add', { name: 'root', password: 'secret' });
    await set('role/add', { name: 'root' });
    await set('user/grant', { user: 'root', role: 'root' });
    await set('enable', {});
    const stranger = await startedRegistry(t, { kind: 'etcd', address: server.address });
    const known = await startedRegistry(t, { kind: 'etcd', address: server.address, user: 'root', password: 'secret' });
    const [refused, told] = [new RecordingSink(), new RecordingSink()];
    stranger.subscribe({ name: 'closed', tags: [] }, refused);
    known.subscribe({ name: 'closed', tags: [] }, told);
    await eventually(() => expect(told.told).toEqual(['9001 up 1']));
    await eventually(() => refused.errors.length > 0);
    expect(refused.sets).toEqual([]);
    expect(refused.errors[0]).toMatchObject({ code: 'registry-denied', retryable: false });
    // Tokens are the server's memory.
    await server.kill();
    await eventually(() => told.errors.length > 0);
    const before = told.sets.length;
    await server.comeBack('with its data');
    await eventually(() => told.sets.length > before, { timeoutMs: 15_000 });
    expect(told.told).toEqual(['9001 up 1']);
  });
});
