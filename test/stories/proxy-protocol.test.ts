import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  formatProxyHeader,
  type ProxyHeader,
  ProxyHeaderReader,
  ProxyStatus,
  Tlv,
} from '../../src/wire/proxy-protocol.ts';
import { type TcpOrigin, tcpOrigin } from '../helpers/echo.ts';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, RawClient, rawClient } from '../helpers/raw-client.ts';
import { requireServer } from '../helpers/require-server.ts';
import { findNginx, startNginx } from '../servers/nginx.ts';

const named: ProxyHeader = {
  sourceAddress: '203.0.113.9',
  sourcePort: 4711,
  destinationAddress: '198.51.100.1',
  destinationPort: 443,
  tlvs: [
    { type: Tlv.AUTHORITY, value: Buffer.from('shop.test') },
    { type: 0xe1, value: Buffer.from('mine') },
  ],
};

function dial(port: number, localAddress = '127.0.0.1'): Socket {
  const socket = connect({ port, host: '127.0.0.1', localAddress });
  socket.on('error', () => {});
  return socket;
}

describe('the PROXY protocol', () => {
  let seen: { header: ProxyHeader | null; rest: string }[] = [];
  let told: TcpOrigin;
  let http: Origin;
  let proxy: RunningProxy;

  beforeAll(async () => {
    // Reads the header it is sent, then says the client's address to every further word.
    told = await tcpOrigin((socket) => {
      let bytes: Buffer = Buffer.alloc(0);
      socket.on('data', (piece) => {
        bytes = Buffer.concat([bytes, piece as Buffer]);
        const reader = new ProxyHeaderReader();
        if (reader.read(bytes) !== ProxyStatus.COMPLETE) return;
        const rest = bytes.subarray(reader.length).toString();
        if (rest === '') return;
        seen.push({ header: reader.header, rest });
        socket.end(reader.header?.sourceAddress ?? 'nobody');
      });
    });
    http = await startOrigin({ name: 'web' });
    const tcp = (name: string, pool: string, from: string[] | null) => ({
      name,
      bind: '127.0.0.1:0',
      protocol: 'tcp',
      pool,
      ...(from === null ? {} : { proxyProtocol: { from } }),
    });
    const told1 = { endpoints: [{ address: told.address }] };
    proxy = await startProxy({
      listeners: [
        tcp('in', 'v2', ['127.0.0.1']),
        tcp('out1', 'v1', null),
        {
          name: 'web',
          bind: '127.0.0.1:0',
          pool: 'web',
          proxyProtocol: { from: ['127.0.0.1/32'] },
          timeouts: { head: '400ms' },
        },
        {
          name: 'few-each',
          bind: '127.0.0.1:0',
          pool: 'web',
          proxyProtocol: { from: ['127.0.0.1/32'] },
          limits: { connectionsPerClient: 1 },
        },
      ],
      pools: {
        v2: { ...told1, proxyProtocol: 'v2' },
        v1: { ...told1, proxyProtocol: 'v1' },
        web: { endpoints: [{ address: http.address }] },
      },
      log: { access: 'stdout' },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await told.close();
    await http.close();
  });

  async function say(socket: Socket): Promise<string> {
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes;
    });
    await eventually(() => socket.destroyed);
    return text;
  }

  it('in and out: the client, its values and an identifier are passed on, whatever pieces the header comes in', async () => {
    seen = [];
    const socket = dial(proxy.port('in'));
    const bytes = Buffer.concat([formatProxyHeader('v2', named), Buffer.from('hi')]);
    for (const piece of [bytes.subarray(0, 7), bytes.subarray(7, 30), bytes.subarray(30)]) {
      await new Promise((resolve) => socket.write(piece, resolve));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(await say(socket)).toBe('203.0.113.9');
    const { header, rest } = seen[0];
    expect(rest).toBe('hi');
    expect(header).toMatchObject({ ...named, tlvs: [...named.tlvs, { type: Tlv.UNIQUE_ID }] });
    expect(header!.tlvs[2].value).toHaveLength(16);
    await eventually(() => proxy.accessLines().some(({ client }) => client === '203.0.113.9'));
  });

  it('out: version 1 names the client that connected', async () => {
    seen = [];
    const socket = dial(proxy.port('out1'), '127.0.0.7');
    socket.write('hi');
    expect(await say(socket)).toBe('127.0.0.7');
    expect(seen[0].header).toMatchObject({ destinationAddress: '127.0.0.1', destinationPort: proxy.port('out1') });
  });

  it('is refused from others, and a bad header or none closes the connection and is counted', async () => {
    const refused = () => proxy.metric('evenkeel_rejected_total', { listener: 'web', reason: 'proxy-protocol' });
    const stranger = dial(proxy.port('web'), '127.0.0.7');
    stranger.write(formatProxyHeader('v2', named));
    await eventually(() => stranger.destroyed);
    const bad = dial(proxy.port('web'));
    bad.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await eventually(() => bad.destroyed);
    const silent = dial(proxy.port('web'));
    await eventually(() => silent.destroyed);
    await eventually(async () => (await refused()) === 3);
  });

  it('in on an HTTP listener: the client is the named one for endpoint and access log', async () => {
    const client = new RawClient(dial(proxy.port('web')));
    client.write(`${formatProxyHeader('v1', named).toString('latin1')}GET /who HTTP/1.1\r\nhost: story\r\n\r\n`);
    expect((await client.response()).status).toBe(200);
    expect((await client.ask('GET', '/again')).status).toBe(200);
    client.socket.destroy();
    const { fields } = http.requests.find(({ target }) => target === '/who')!;
    expect(fields.get('x-forwarded-for')).toBe('203.0.113.9');
    await eventually(() =>
      proxy.accessLines().some(({ path, client }) => path === '/again' && client === '203.0.113.9'),
    );
  });

  it('in: connectionsPerClient counts the named client, not the balancer that speaks for it', async () => {
    const open = (sourceAddress: string) => {
      const client = new RawClient(dial(proxy.port('few-each')));
      client.write(formatProxyHeader('v1', { ...named, sourceAddress }));
      return client;
    };
    const first = open('203.0.113.1');
    expect((await first.ask('GET', '/')).status).toBe(200);
    const other = open('203.0.113.2');
    expect((await other.ask('GET', '/')).status).toBe(200);
    const again = open('203.0.113.1');
    const { status, fields } = await again.response();
    expect([status, fields.get('x-evenkeel-reason')]).toEqual([503, 'connections']);
    first.socket.destroy();
    await eventually(async () => {
      await using later = open('203.0.113.1');
      return (await later.ask('GET', '/')).status === 200;
    });
    for (const { socket } of [other, again]) socket.destroy();
  });

  it('in: taken away by a reload, what had begun is read to its end, and draining waits for it', async () => {
    const listener = { name: 'web', bind: '127.0.0.1:0', pool: 'web' };
    const document = (extra: object) => ({
      runtime: { drain: '10s' },
      listeners: [{ ...listener, ...extra }],
      pools: { web: { endpoints: [{ address: http.address }] } },
    });
    await using own = await startProxy(document({ proxyProtocol: { from: ['127.0.0.1/32'] } }));
    await using begun = new RawClient(dial(own.port()));
    begun.write('PROXY TCP4 203.0.113.9');
    await eventually(async () => (await own.metric('evenkeel_connections_active')) === 1);
    await own.write(document({}));
    expect(await own.reload()).toBe('reloaded');
    await eventually(async () => (await ask(own.port(), 'GET', '/plain')).status === 200);
    own.child.kill('SIGTERM');
    // A worker that does not know of the connection is gone by then.
    await Promise.race([begun.ended(1_500).catch(() => {}), own.child.exited]);
    begun.write(' 198.51.100.1 4711 443\r\nGET /begun HTTP/1.1\r\nhost: story\r\n\r\n');
    expect((await begun.response()).status).toBe(200);
    expect(http.requests.at(-1)!.fields.get('x-forwarded-for')).toBe('203.0.113.9');
    begun.socket.destroy();
    expect((await own.child.exited).code).toBe(0);
  });
});

describe.skipIf(requireServer('nginx', findNginx()))('the PROXY protocol towards nginx', () => {
  it('names each client on upstream connections of its own', async () => {
    await using nginx = await startNginx({
      name: 'x',
      locations: 'location /who { return 200 "$proxy_protocol_addr $connection"; }',
      listen: 'proxy_protocol',
    });
    await using proxy = await startProxy({
      listeners: [{ name: 'web', bind: ['127.0.0.1:0'], pool: 'web' }],
      pools: { web: { endpoints: [{ address: `127.0.0.1:${nginx.port}` }], proxyProtocol: 'v2' } },
    });
    const clients = ['127.0.0.7', '127.0.0.8'].map((address) => new RawClient(dial(proxy.port(), address)));
    const answers: string[][] = [[], []];
    for (let round = 0; round < 3; round++)
      for (const [i, client] of clients.entries()) answers[i].push((await client.ask('GET', '/who')).text);
    for (const [i, address] of ['127.0.0.7', '127.0.0.8'].entries()) {
      expect(answers[i][0]).toMatch(new RegExp(`^${address} \\d+$`));
      expect(new Set(answers[i]).size).toBe(1);
    }
    for (const { socket } of clients) socket.destroy();
    await using other = await rawClient(proxy.port());
    expect((await other.ask('GET', '/who')).text).toMatch(/^127\.0\.0\.1 /);
  });
});
