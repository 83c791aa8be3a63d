import { type ConnectionOptions, connect, createServer as createTlsServer } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority, findOpenssl, type Pair } from '../helpers/certificates.ts';
import { namer, type TcpOrigin, tcpOrigin } from '../helpers/echo.ts';
import { eventually } from '../helpers/eventually.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { rawClient } from '../helpers/raw-client.ts';
import { requireServer } from '../helpers/require-server.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../helpers/temporary-directory.ts';

describe.skipIf(requireServer('openssl', findOpenssl()))(
  'TLS connections are routed by name without being opened',
  () => {
    let directory: TemporaryDirectory;
    let pair: Pair;
    let proxy: RunningProxy;
    let plain: TcpOrigin;
    const servers: { port: number; close(): void }[] = [];

    /** A TLS endpoint that says its own name and the protocol agreed on. */
    async function secure(name: string, protocols: string[] = []): Promise<{ address: string }[]> {
      const server = createTlsServer({ cert: pair.cert, key: pair.key, ALPNProtocols: protocols }, (socket) => {
        socket.on('error', () => {});
        socket.end(`${name} ${socket.alpnProtocol || '-'}`);
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as { port: number };
      servers.push({ port, close: () => server.close() });
      return [{ address: `127.0.0.1:${port}` }];
    }

    function ask(port: number, options: ConnectionOptions): Promise<string> {
      return new Promise((resolve) => {
        let text = '';
        const socket = connect({ host: '127.0.0.1', port, ca: pair.cert, rejectUnauthorized: false, ...options });
        socket.on('data', (bytes) => {
          text += bytes;
        });
        socket.on('error', (error: NodeJS.ErrnoException) => {
          text = error.code ?? '';
        });
        socket.on('close', () => resolve(text));
      });
    }

    beforeAll(async () => {
      directory = await temporaryDirectory('sni');
      pair = new Authority(directory.path, 'authority').issue('db', ['db.example.com']);
      plain = await tcpOrigin(namer('plain'));
      const sni = (name: string, pool: string, more: object = {}) => ({ match: { sni: name, ...more }, pool });
      const pools = {
        db: { endpoints: await secure('db') },
        wild: { endpoints: await secure('wild') },
        mq: { endpoints: await secure('mq', ['mqtt']) },
        plain: { endpoints: [{ address: plain.address }] },
      };
      proxy = await startProxy({
        listeners: [
          {
            name: 'through',
            bind: '127.0.0.1:0',
            protocol: 'tcp',
            timeouts: { head: '500ms' },
            routes: [
              sni('*.example.com', 'wild'),
              sni('db.example.com', 'db'),
              sni('db.example.com', 'mq', { alpn: ['mqtt'] }),
              { pool: 'plain' },
            ],
          },
          {
            name: 'opened',
            bind: '127.0.0.1:0',
            protocol: 'tcp',
            tls: { certificates: [{ cert: pair.certFile, key: pair.keyFile }] },
            routes: [sni('db.example.com', 'plain'), { pool: 'again' }],
          },
        ],
        pools: { ...pools, again: { endpoints: pools.db.endpoints, tls: { verify: false } } },
        log: { access: 'stdout' },
      });
    });

    afterAll(async () => {
      await proxy.stop();
      for (const server of servers) server.close();
      await plain.close();
      await directory.close();
    });

    it("by exact name, wildcard and protocol, and the client sees the endpoint's own certificate", async () => {
      const port = proxy.port('through');
      expect(await ask(port, { servername: 'db.example.com' })).toBe('db -');
      expect(await ask(port, { servername: 'x.y.example.com' })).toBe('wild -');
      expect(await ask(port, { servername: 'db.example.com', ALPNProtocols: ['mqtt'] })).toBe('mq mqtt');
      await eventually(() => proxy.accessLines().some(({ serverName }) => serverName === 'x.y.example.com'));
    });

    it('what is not TLS goes where no name is asked for; who says nothing is not waited for', async () => {
      await using talker = await rawClient(proxy.port('through'));
      let text = '';
      talker.socket.on('data', (bytes) => {
        text += bytes;
      });
      talker.write('hello');
      await eventually(() => text === 'plain');
      await using silent = await rawClient(proxy.port('through'));
      await eventually(() => silent.socket.destroyed);
      const refused = () => proxy.metric('evenkeel_rejected_total', { listener: 'through', reason: 'head-timeout' });
      await eventually(async () => (await refused()) === 1);
    });

    it('or opened here, routed by the name, and closed again towards the endpoint', async () => {
      const socket = connect({
        host: '127.0.0.1',
        port: proxy.port('opened'),
        ca: pair.cert,
        rejectUnauthorized: false,
        servername: 'db.example.com',
      });
      let text = '';
      socket.on('data', (bytes) => {
        text += bytes;
      });
      socket.write('hello');
      await eventually(() => text === 'plain');
      socket.destroy();
      expect(await ask(proxy.port('opened'), { servername: 'other.test' })).toBe('db -');
    });
  },
);
