import { execFileSync } from 'node:child_process';
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { startProxy } from '../helpers/proxy.ts';

const open = new Set<Socket>();
/** Only root may send datagrams that it wrote whole. */
const isRoot = process.getuid?.() === 0;
/** A datagram without a source port (RFC 768 has it optional) to a local port. */
const FROM_PORT_0 = `use Socket; socket(my $raw, PF_INET, SOCK_RAW, 17) or die "$!";
send($raw, pack("nnnn", 0, $ARGV[0], 9, 0) . "0", 0, sockaddr_in(0, inet_aton("127.0.0.1"))) or die "$!";`;

function bound(onMessage: (bytes: Buffer, from: RemoteInfo, socket: Socket) => void, host = '127.0.0.1', port = 0) {
  const socket = createSocket('udp4');
  open.add(socket);
  socket.on('error', () => {});
  socket.on('message', (bytes, from) => onMessage(bytes, from, socket));
  return new Promise<{ socket: Socket; address: string; port: number }>((resolve) =>
    socket.bind(port, host, () => {
      const { port } = socket.address();
      resolve({ socket, port, address: `${host}:${port}` });
    }),
  );
}

/** Answers every datagram with its name and what it got. */
const origin = (name: string) =>
  bound((bytes, from, socket) => socket.send(`${name} ${bytes}`, from.port, from.address));

/** A client with an address and port of its own, and what it heard from whom. */
async function client() {
  const heard: { text: string; from: string }[] = [];
  const { socket } = await bound((bytes, { address, port }) =>
    heard.push({ text: bytes.toString(), from: `${address}:${port}` }),
  );
  return {
    heard,
    async ask(port: number, text: string, host = '127.0.0.1') {
      const before = heard.length;
      socket.send(text, port, host);
      await eventually(() => heard.length > before);
      return heard.at(-1)!;
    },
    send: (port: number, text: string) => socket.send(text, port, '127.0.0.1'),
  };
}

const dns = (endpoints: { address: string }[], udp: object = {}, pool: object = {}) => ({
  listeners: [{ name: 'dns', bind: ['127.0.0.1:0'], protocol: 'udp', pool: 'dns', udp }],
  pools: {
    dns: { endpoints: endpoints.map(({ address }) => ({ address })), scheduler: 'weighted-round-robin', ...pool },
  },
  log: { access: 'stdout' },
});

describe('a UDP listener keeps sessions', () => {
  afterEach(() => {
    for (const socket of open) socket.close();
    open.clear();
  });

  it('a client stays with its endpoint, and answers come from the address that was asked', async () => {
    const origins = await Promise.all(['a', 'b'].map(origin));
    await using proxy = await startProxy({ ...dns(origins), runtime: { workers: 2 } });
    const port = proxy.port();
    const names = new Set<string>();
    for (let i = 0; i < 8; i++) {
      const one = await client();
      const { text, from } = await one.ask(port, 'x');
      expect(from).toBe(`127.0.0.1:${port}`);
      names.add(text);
      for (let j = 0; j < 3; j++) expect((await one.ask(port, 'x')).text).toBe(text);
    }
    expect([...names].sort()).toEqual(['a x', 'b x']);
    expect(await proxy.metric('evenkeel_connections_active', { listener: 'dns' })).toBe(8);
  });

  it('a session ends with its answer where one is expected, and is written and counted', async () => {
    const one = await origin('a');
    await using proxy = await startProxy(dns([one], { replies: 1 }));
    const asker = await client();
    for (let i = 0; i < 3; i++) await asker.ask(proxy.port(), `q${i}`);
    await eventually(() => proxy.accessLines().length === 3);
    expect(proxy.accessLines()[0]).toMatchObject({
      listener: 'dns',
      protocol: 'udp',
      pool: 'dns',
      endpoint: one.address,
      client: '127.0.0.1',
      reason: null,
      bytesIn: 2,
      bytesOut: 4,
      attempts: 1,
    });
    await eventually(async () => (await proxy.metric('evenkeel_connections_active')) === 0);
    await eventually(async () => (await proxy.metric('evenkeel_sessions_total', { outcome: 'ok' })) === 3);
  });

  it('each datagram may have an endpoint of its own', async () => {
    const origins = await Promise.all(['a', 'b'].map(origin));
    await using proxy = await startProxy(dns(origins, { replies: 1, per: 'packet' }));
    const asker = await client();
    const answers = [];
    for (let i = 0; i < 4; i++) answers.push((await asker.ask(proxy.port(), 'x')).text);
    expect(answers.sort()).toEqual(['a x', 'a x', 'b x', 'b x']);
  });

  it('an endpoint that refuses is a failure, and another one answers', async () => {
    const gone = await origin('gone');
    gone.socket.close();
    open.delete(gone.socket);
    const there = await origin('a');
    await using proxy = await startProxy(dns([gone, there], {}, { ejection: { consecutiveFailures: 2 } }));
    for (let i = 0; i < 6; i++) expect((await (await client()).ask(proxy.port(), 'x')).text).toBe('a x');
    expect((await proxy.endpoint('dns', gone.address)).down).toEqual(['ejected']);
    expect(await proxy.metric('evenkeel_retries_total', { pool: 'dns', reason: 'connect-failure' })).toBeGreaterThan(1);
  });

  it('an idle session ends, and its cap holds', async () => {
    const one = await origin('a');
    const { listeners, ...rest } = dns([one], { idle: '300ms' });
    await using proxy = await startProxy({ listeners: [{ ...listeners[0], limits: { connections: 1 } }], ...rest });
    const [first, second] = [await client(), await client()];
    await first.ask(proxy.port(), 'x');
    // Not idle before the second has come.
    const sends = setInterval(() => first.send(proxy.port(), 'x'), 50);
    second.send(proxy.port(), 'y');
    await eventually(
      async () => (await proxy.metric('evenkeel_rejected_total', { reason: 'connections' })) === 1,
    ).finally(() => clearInterval(sends));
    expect(second.heard).toEqual([]);
    await eventually(async () => (await proxy.metric('evenkeel_connections_active')) === 0);
    expect((await second.ask(proxy.port(), 'z')).text).toBe('a z');
  });

  it('a port in use is refused at the start', async () => {
    const busy = await origin('busy');
    const document = dns([busy]);
    document.listeners[0].bind = [busy.address];
    await expect(startProxy(document)).rejects.toThrow(/address is in use/);
  });

  it('a drained endpoint, a reload and a restart of the worker lose no answer', async () => {
    const origins = await Promise.all(['a', 'b'].map(origin));
    await using proxy = await startProxy(dns(origins, { replies: 1 }));
    let asked = 0;
    let isOver = false;
    const load = (async () => {
      while (!isOver) {
        await (await client()).ask(proxy.port(), 'x');
        asked++;
      }
    })();
    const more = (count: number) => {
      const goal = asked + count;
      return eventually(() => asked >= goal);
    };
    await more(20);
    const path = `/api/v1/pools/dns/endpoints/${origins[0].address}`;
    await proxy.api(path, { method: 'PATCH', body: { state: 'drain' } });
    await more(20);
    for (let i = 0; i < 4; i++) expect((await (await client()).ask(proxy.port(), 'x')).text).toBe('b x');
    await proxy.write(dns([origins[0]], { replies: 1 }));
    await proxy.api(path, { method: 'PATCH', body: { state: 'ready' } });
    expect(await proxy.reload()).toBe('reloaded');
    await more(20);
    expect((await (await client()).ask(proxy.port(), 'x')).text).toBe('a x');
    await proxy.api('/api/v1/workers/restart', { method: 'POST' });
    await more(200);
    isOver = true;
    await load;
  });

  it('a listener that gets another name keeps its address and the sessions at it', async () => {
    const asked: (() => void)[] = [];
    const slow = await bound((_, { address, port }, socket) => asked.push(() => socket.send('late', port, address)));
    const { socket, address } = await origin('nobody');
    socket.close();
    open.delete(socket);
    const named = (name: string) => {
      const { listeners, ...rest } = dns([slow], { replies: 1 });
      return { ...rest, listeners: [{ ...listeners[0], name, bind: [address] }] };
    };
    await using proxy = await startProxy(named('before'));
    const port = proxy.port();
    const [first, second] = [await client(), await client()];
    first.send(port, 'x');
    await eventually(() => asked.length === 1);
    await proxy.write(named('after'));
    expect(await proxy.reload()).toBe('reloaded');
    // Three times as long as a quiet address that is given up stays open.
    setTimeout(asked[0], 600);
    await eventually(() => first.heard.length === 1);
    second.send(port, 'y');
    await eventually(() => asked.length === 2);
    asked[1]();
    await eventually(() => second.heard.length === 1);
    await eventually(() => proxy.accessLines().length === 2);
    expect(proxy.accessLines().map(({ listener }) => listener)).toEqual(expect.arrayContaining(['before', 'after']));
    await eventually(async () => (await proxy.metric('evenkeel_connections_active')) === 0);
  });

  it('an address that was given up while clients went on sending can be had back at once', async () => {
    const one = await origin('a');
    const { socket, address } = await origin('nobody');
    socket.close();
    open.delete(socket);
    const { listeners, ...rest } = dns([one], { replies: 1 });
    const other = { ...listeners[0], name: 'other' };
    const both = { ...rest, listeners: [other, { ...listeners[0], bind: [address] }] };
    await using proxy = await startProxy(both);
    const port = proxy.port('dns');
    const asker = await client();
    const sends = setInterval(() => asker.send(port, 'x'), 20);
    try {
      await proxy.write({ ...rest, listeners: [other] });
      expect(await proxy.reload()).toBe('reloaded');
      await proxy.write(both);
      expect(await proxy.reload()).toBe('reloaded');
    } finally {
      clearInterval(sends);
    }
    const fresh = await client();
    expect((await fresh.ask(port, 'y')).text).toBe('a y');
  });

  it.skipIf(!isRoot)('a datagram that nobody can answer is refused, and everybody else is served on', async () => {
    const one = await origin('a');
    await using proxy = await startProxy(dns([one]));
    const asker = await client();
    await asker.ask(proxy.port(), 'x');
    execFileSync('perl', ['-e', FROM_PORT_0, String(proxy.port())]);
    await eventually(async () => (await proxy.metric('evenkeel_rejected_total', { reason: 'bad-request' })) === 1);
    expect((await asker.ask(proxy.port(), 'y')).text).toBe('a y');
    expect(proxy.events('worker-died')).toEqual([]);
  });

  it('an endpoint that cannot even be connected to is a failure, and another one answers', async () => {
    const there = await origin('a');
    // Not without a socket option that nobody sets: connect(2) says EACCES.
    const broadcast = { address: '127.255.255.255:9' };
    await using proxy = await startProxy(dns([broadcast, there], {}, { ejection: { consecutiveFailures: 2 } }));
    for (let i = 0; i < 6; i++) expect((await (await client()).ask(proxy.port(), 'x')).text).toBe('a x');
    expect((await proxy.endpoint('dns', broadcast.address)).down).toEqual(['ejected']);
    expect(proxy.events('worker-died')).toEqual([]);
  });

  it('what our own machine is short of is not held against an endpoint', async () => {
    const one = await origin('a');
    await using proxy = await startProxy(dns([one], {}, { ejection: { consecutiveFailures: 2 } }));
    await (await client()).ask(proxy.port(), 'x');
    const mayOpen = (files: string) => execFileSync('prlimit', ['--pid', `${proxy.pid}`, `--nofile=${files}:`]);
    const limit = execFileSync('prlimit', ['--pid', `${proxy.pid}`, '--nofile', '-o', 'SOFT', '--noheadings']);
    mayOpen('8');
    const late = await Promise.all([1, 2, 3, 4].map(client));
    for (const { send } of late) send(proxy.port(), 'y');
    await eventually(() => proxy.accessLines().length === 4);
    mayOpen(limit.toString().trim());
    expect(proxy.accessLines().map(({ reason }) => reason)).toEqual(['limit', 'limit', 'limit', 'limit']);
    expect(await proxy.endpoint('dns', one.address)).toMatchObject({ down: [], failures: 0, active: 1 });
    expect((await late[0].ask(proxy.port(), 'z')).text).toBe('a z');
  });

  it.each(['session', 'packet'])('an end waits for an answer, per %s', async (per) => {
    const asked: (() => void)[] = [];
    const slow = await bound((_, { address, port }, socket) => asked.push(() => socket.send('late', port, address)));
    await using proxy = await startProxy({ ...dns([slow], { per, replies: 1 }), runtime: { drain: '5s' } });
    const asker = await client();
    asker.send(proxy.port(), 'x');
    await eventually(() => asked.length === 1);
    const stopped = proxy.stop();
    // Three times as long as a quiet address stays open.
    setTimeout(asked[0], 600);
    expect(await stopped).toBe(0);
    await eventually(() => asker.heard.length === 1);
  });

  it('datagrams that want no answer keep no place: any number goes through a small limit', async () => {
    let got = 0;
    // One that says more than was asked is no exception.
    const sink = await bound((_, { address, port }, socket) => {
      if (++got % 2 === 0) socket.send('thanks', port, address);
    });
    const limits = { active: 4 };
    await using proxy = await startProxy(dns([sink], { per: 'packet', replies: 0 }, { limits }));
    const sender = await client();
    for (let i = 0; i < 200; i++) sender.send(proxy.port(), `${i}`);
    await eventually(() => got === 200);
    await eventually(async () => (await proxy.metric('evenkeel_connections_active')) === 0);
    await eventually(async () => (await proxy.metric('evenkeel_sessions_total', { outcome: 'ok' })) === 200);
    await eventually(async () => (await proxy.endpoint('dns', sink.address)).active === 0);
  });

  it('a refusal is heard where no answer is expected: another endpoint gets the datagram', async () => {
    const gone = await origin('gone');
    gone.socket.close();
    open.delete(gone.socket);
    const got: string[] = [];
    const sink = await bound((bytes) => got.push(bytes.toString()));
    const ejection = { consecutiveFailures: 2 };
    await using proxy = await startProxy(dns([gone, sink], { per: 'packet', replies: 0 }, { ejection }));
    const sender = await client();
    for (let i = 0; i < 6; i++) {
      sender.send(proxy.port(), `${i}`);
      await eventually(() => got.length === i + 1);
    }
    expect(got).toEqual(['0', '1', '2', '3', '4', '5']);
    expect((await proxy.endpoint('dns', gone.address)).down).toEqual(['ejected']);
  });

  it('a client that goes on sending leaves an endpoint that went down or left, answered or not', async () => {
    const silent = await bound(() => {});
    const [a, b] = await Promise.all(['a', 'b'].map(origin));
    await using proxy = await startProxy(dns([silent], { replies: 1 }));
    const asker = await client();
    const sends = setInterval(() => asker.send(proxy.port(), 'x'), 20);
    try {
      await eventually(async () => (await proxy.metric('evenkeel_connections_active')) === 1);
      await proxy.write(dns([silent, a], { replies: 1 }));
      await proxy.reload();
      await proxy.api(`/api/v1/pools/dns/endpoints/${silent.address}`, {
        method: 'PATCH',
        body: { state: 'maintenance' },
      });
      await eventually(() => asker.heard.at(-1)?.text === 'a x');
      await proxy.write(dns([b]));
      await proxy.reload();
      await eventually(() => asker.heard.at(-1)?.text === 'b x');
    } finally {
      clearInterval(sends);
    }
  });
});
