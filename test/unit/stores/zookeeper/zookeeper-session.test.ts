import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../../src/base/clock.ts';
import { parseConnectString } from '../../../../src/stores/zookeeper/connect-string.ts';
import { JuteReader, JuteWriter } from '../../../../src/stores/zookeeper/jute.ts';
import { EventType } from '../../../../src/stores/zookeeper/messages.ts';
import { WatchTable } from '../../../../src/stores/zookeeper/watch-table.ts';
import { ZookeeperSession } from '../../../../src/stores/zookeeper/zookeeper-session.ts';
import { eventually } from '../../../helpers/eventually.ts';
import { startZookeeperDouble } from '../../../helpers/zookeeper-double.ts';

describe('a session', () => {
  const stack: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of stack.splice(0).reverse()) await close();
  });

  async function server() {
    const started = await startZookeeperDouble();
    stack.push(() => started.close());
    return started;
  }

  async function session(ports: readonly number[], { chroot = '', timeoutMs = 1200, auth = '' } = {}) {
    const happened: string[] = [];
    const made = new ZookeeperSession(
      {
        address: parseConnectString(ports.map((port) => `127.0.0.1:${port}`).join(',') + chroot)!,
        timeoutMs,
        auth,
        tls: null,
        clock: systemClock,
        random: () => 0,
      },
      {
        connected: (isNew) => happened.push(isNew ? 'new session' : 'same session'),
        disconnected: () => happened.push('disconnected'),
        lost: (error) => happened.push(`lost: ${error.code}`),
      },
    );
    stack.push(() => made.close());
    made.start();
    await eventually(() => made.isConnected);
    return { session: made, happened };
  }

  it('keeps its watches over a lost connection, set again before anything else is asked', async () => {
    const zk = await server();
    zk.put('/a', '1');
    const { session: one, happened } = await session([zk.port]);
    let told = 0;
    await one.get('/a', () => told++);
    zk.cut();
    zk.put('/a', '2');
    await eventually(() => told === 1);
    expect(happened).toEqual(['new session', 'disconnected', 'same session']);
    expect(zk.asked).toEqual(['CONNECT new fresh', 'GET_DATA /a', 'CONNECT again later', 'SET_WATCHES']);
    expect((await one.get('/a'))?.data.toString()).toBe('2');
  });

  it('begins a new session, without watches, when the old one is over', async () => {
    const zk = await server();
    zk.put('/a', '1');
    const { session: one, happened } = await session([zk.port]);
    const first = one.id;
    let told = 0;
    await one.get('/a', () => told++);
    zk.expireAll();
    zk.cut();
    await eventually(() => happened.at(-1) === 'new session' && happened.length === 3);
    expect(one.id).not.toBe(first);
    zk.put('/a', '2');
    expect((await one.get('/a'))?.data.toString()).toBe('2');
    expect(told).toBe(0);
    expect(zk.asked).not.toContain('SET_WATCHES');
  });

  it('notices a server that says nothing although the connection stands, and goes to another one', async () => {
    const [frozen, other] = [await server(), await server()];
    const { session: one, happened } = await session([frozen.port, other.port], { timeoutMs: 600 });
    expect(frozen.asked).toHaveLength(1);
    frozen.isSilent = true;
    const from = performance.now();
    await eventually(() => happened.length >= 2);
    expect(performance.now() - from).toBeLessThan(600);
    await eventually(() => one.isConnected);
    expect(other.asked[0]).toBe('CONNECT again fresh');
    expect(happened.filter((one) => one.startsWith('lost'))).toEqual([]);
  });

  it('is not served by a server that has lost its ensemble', async () => {
    const [readOnly, good] = [await server(), await server()];
    readOnly.isReadOnly = true;
    const { happened } = await session([readOnly.port, good.port]);
    expect(readOnly.asked).toEqual(['CONNECT new fresh']);
    expect(good.asked).toEqual(['CONNECT new fresh']);
    expect(happened).toEqual(['new session']);
  });

  it('says once that it is lost when every server was tried, and rejects requests meanwhile', async () => {
    const zk = await server();
    const { session: one, happened } = await session([zk.port]);
    await zk.close();
    await eventually(() => happened.includes('lost: registry-unreachable'));
    await expect(one.get('/a')).rejects.toMatchObject({ code: 'registry-unreachable', retryable: true });
    expect(one.failure?.message).toMatch(/refuses connections|closed the connection/);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(happened).toEqual(['new session', 'disconnected', 'lost: registry-unreachable']);
  });

  it('gives up a session that nobody can continue: the server lost its data and refuses who has seen more', async () => {
    const zk = await server();
    zk.put('/a', '1');
    const { session: one, happened } = await session([zk.port], { timeoutMs: 600 });
    await one.get('/a');
    zk.zxid = 0n;
    zk.cut();
    await eventually(() => happened.at(-1) === 'new session' && happened.length > 1, { timeoutMs: 8000 });
    expect(zk.asked.filter((one) => one === 'CONNECT again later').length).toBeGreaterThan(1);
    expect(zk.asked.at(-1)).toBe('CONNECT new fresh');
  });

  it('creates what is missing above a node, below its chroot, and says what was there', async () => {
    const zk = await server();
    const { session: one } = await session([zk.port], { chroot: '/shop' });
    await one.ensure('/services/web');
    expect(await one.create('/services/web/a', Buffer.from('x'))).toBe(true);
    expect(await one.create('/services/web/a', Buffer.from('y'))).toBe(false);
    expect((await one.children('/services/web'))?.names).toEqual(['a']);
    expect(zk.asked).toContain('CREATE /shop/services/web/a');
    expect(await one.delete('/services/web/a')).toBe(true);
    expect(await one.get('/services/web/a')).toBeNull();
  });

  it('forgets a watch that nobody wants any more', async () => {
    const zk = await server();
    zk.put('/a', '1');
    const { session: one } = await session([zk.port]);
    let told = 0;
    const watcher = () => void told++;
    await one.get('/a', watcher);
    one.unwatch('/a', watcher);
    zk.put('/a', '2');
    zk.cut();
    await eventually(() => zk.asked.includes('CONNECT again later') && one.isConnected);
    expect((await one.get('/a'))?.data.toString()).toBe('2');
    expect(told).toBe(0);
    expect(zk.asked).not.toContain('SET_WATCHES');
  });
});

describe('a connect string', () => {
  it.each([
    ['zk1:2181,zk2:2182/shop/', ['zk1:2181', 'zk2:2182'], '/shop'],
    ['zk1, [::1]:2181', ['zk1:2181', '::1:2181'], ''],
    ['zk1/', ['zk1:2181'], ''],
  ])('%s', (text, servers, chroot) => {
    const read = parseConnectString(text)!;
    expect(read.servers.map(({ host, port }) => `${host}:${port}`)).toEqual(servers);
    expect(read.chroot).toBe(chroot);
  });

  it.each(['', 'zk1:0', 'zk1,,zk2', 'http://zk1', 'zk1:99999', 'zk1/a//b', 'zk1/../b'])('%j is none', (text) => {
    expect(parseConnectString(text)).toBeNull();
  });
});

describe('a frame', () => {
  it('is read as it was written', () => {
    const frame = new JuteWriter().int(-5).long(-6n).bool(true).text('ä').texts(['a', '']).bytes(Buffer.of(1)).frame();
    expect(frame.readInt32BE()).toBe(frame.length - 4);
    const reader = new JuteReader(frame.subarray(4));
    expect([reader.int(), reader.long(), reader.bool(), reader.text(), reader.texts(), [...reader.bytes()]]).toEqual([
      -5,
      -6n,
      true,
      'ä',
      ['a', ''],
      [1],
    ]);
    expect(reader.left).toBe(0);
  });

  it('that is cut short or lies about a length is refused, not read past its end', () => {
    const whole = new JuteWriter().text('abc').frame().subarray(4);
    for (let end = 0; end < whole.length; end++)
      expect(() => new JuteReader(whole.subarray(0, end)).text()).toThrow(RangeError);
    expect(() => new JuteReader(Buffer.from('7fffffff', 'hex')).texts()).toThrow(RangeError);
    expect(new JuteReader(Buffer.from('ffffffff', 'hex')).bytes()).toHaveLength(0);
  });
});

describe('the table of watches', () => {
  it('tells each watch what is for it, once', () => {
    const table = new WatchTable();
    const told: string[] = [];
    const add = (sort: 'data' | 'exists' | 'children') => table.add(sort, '/a', () => told.push(sort));
    for (const sort of ['data', 'exists', 'children'] as const) add(sort);
    table.fire({ type: EventType.CHILDREN, path: '/a' });
    table.fire({ type: EventType.DATA, path: '/a' });
    table.fire({ type: EventType.DELETED, path: '/a' });
    expect(told).toEqual(['children', 'data', 'exists']);
    for (const sort of ['data', 'exists', 'children'] as const) add(sort);
    table.fire({ type: EventType.DELETED, path: '/a' });
    expect(told.slice(3).sort()).toEqual(['children', 'data', 'exists']);
  });

  it('sets many watches again in requests that a server takes', () => {
    const table = new WatchTable();
    for (let i = 0; i < 5000; i++)
      table.add(i % 2 === 0 ? 'data' : 'children', `/services/web/${'x'.repeat(60)}${i}`, () => {});
    const batches = table.batches();
    expect(batches.length).toBeGreaterThan(2);
    const paths = batches.flatMap(({ data, children }) => [...data, ...children]);
    expect(new Set(paths).size).toBe(5000);
    for (const { data, children } of batches) expect([...data, ...children].join('').length).toBeLessThan(200_000);
  });
});
