import { X509Certificate } from 'node:crypto';
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ConnectionOptions, PeerCertificate } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Authority, findOpenssl, type Pair } from '../helpers/certificates.ts';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { runProcess } from '../helpers/processes.ts';
import { stopwatch } from '../helpers/processor-wait.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient, request } from '../helpers/raw-client.ts';
import { requireServer } from '../helpers/require-server.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../helpers/temporary-directory.ts';
import { type TlsClient, tlsClient } from '../helpers/tls-client.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

describe.skipIf(requireServer('openssl', findOpenssl()))('a listener with TLS', () => {
  let directory: TemporaryDirectory;
  let authority: Authority;
  let shop: Pair;
  let wild: Pair;
  let api: Pair;
  let origin: Origin;
  let proxy: RunningProxy | null = null;
  /** Of those who take the document as it stands, and what it had refused when the test began. */
  let shared: RunningProxy | null = null;

  beforeAll(async () => {
    directory = await temporaryDirectory('tls');
    authority = new Authority(directory.path, 'authority');
    shop = authority.issue('shop', ['shop.test', 'www.shop.test', 'IP:127.0.0.1']);
    wild = authority.issue('wild', ['*.wild.test']);
    api = authority.issue('api', ['api.wild.test']);
    origin = await startOrigin({ name: 'origin' });
  });

  afterAll(async () => {
    await shared?.stop();
    await origin.close();
    await directory.close();
  });

  afterEach(async () => {
    if (proxy !== shared) await proxy?.stop();
    proxy = null;
  });

  const filesOf = ({ certFile, keyFile }: Pair) => ({ cert: certFile, key: keyFile });

  function documentOf(tls: object = {}, listener: object = {}, workers = 1) {
    const certificates = [shop, wild, api].map(filesOf);
    return {
      runtime: { workers },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', tls: { certificates, ...tls }, pool: 'web', ...listener }],
      pools: { web: { endpoints: [{ address: origin.address }] } },
    };
  }

  async function start(tls: object = {}, listener: object = {}, workers = 1): Promise<RunningProxy> {
    proxy = await startProxy(documentOf(tls, listener, workers));
    return proxy;
  }

  async function share(): Promise<void> {
    shared ??= await startProxy(documentOf());
    proxy = shared;
  }

  const open = (options: ConnectionOptions = {}): Promise<TlsClient> =>
    tlsClient(proxy!.port(), { ca: authority.pair.cert, servername: 'shop.test', ...options });

  const shown = ({ socket }: TlsClient) => (socket.getPeerCertificate() as PeerCertificate).subject.CN;

  const failed = () => proxy!.metric('evenkeel_rejected_total', { reason: 'tls-handshake' });

  it('shows the certificate of the name that is asked for: exact, then wildcard, then the first', async () => {
    await share();
    const anyone = { checkServerIdentity: () => undefined };
    for (const [servername, expected] of [
      ['shop.test', 'shop'],
      ['WWW.shop.test', 'shop'],
      ['api.wild.test', 'api'],
      ['other.wild.test', 'wild'],
      ['a.b.wild.test', 'shop'],
      ['wild.test', 'shop'],
      ['nobody.test', 'shop'],
    ]) {
      await using client = await open({ servername, ...anyone });
      expect([servername, shown(client)]).toEqual([servername, expected]);
    }
    // An address is no name to ask for: verified by the certificate's own address.
    await using client = await open({ servername: undefined });
    expect(shown(client)).toBe('shop');
    expect((await client.ask('GET', '/', ['host: shop.test'])).text).toBe('origin');
  });

  it('carries requests as in plain text, and says that they came over TLS', async () => {
    await share();
    await using client = await open();
    for (let i = 0; i < 3; i++) {
      const body = 'x'.repeat(100_000 * i);
      origin.handler = async (asked, reply) => {
        await asked.ended;
        reply.send(200, asked.body);
      };
      const { status, text } = await client.ask('POST', '/', ['host: shop.test'], body);
      expect([status, text.length]).toEqual([200, body.length]);
    }
    origin.handler = (_, reply) => void reply.send(200, 'origin');
    const { fields } = origin.requests.at(-1)!;
    expect(fields.get('x-forwarded-proto')).toBe('https');
    expect(origin.faults).toEqual([]);
  });

  it('resets a response that its endpoint cuts short', async () => {
    await share();
    origin.handler = (_, reply) => void reply.raw('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf').reset();
    await using client = await open();
    client.write(request('GET', '/', ['host: shop.test']));
    expect(await client.ended()).toBe('reset');
    origin.handler = (_, reply) => void reply.send(200, 'origin');
  });

  it('speaks HTTP/1.1 by ALPN, and refuses who offers only what it does not speak', async () => {
    await start();
    await using both = await open({ ALPNProtocols: ['h2', 'http/1.1'] });
    expect(both.socket.alpnProtocol).toBe('http/1.1');
    await using none = await open();
    expect(none.socket.alpnProtocol).toBe(false);
    await expect(open({ ALPNProtocols: ['h2', 'spdy/3'] })).rejects.toThrow(/no application protocol/);
    await eventually(async () => (await failed()) === 1);
  });

  it('speaks TLS 1.2 and 1.3 with forward secrecy, and nothing older or weaker', async () => {
    await start();
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      await using client = await open({ minVersion: version, maxVersion: version });
      expect(client.socket.getProtocol()).toBe(version);
      // A client that left now would leave before the handshake's last word.
      await client.ask('GET', '/', ['host: shop.test']);
    }
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' } as const;
    await expect(open(old)).rejects.toThrow(/alert protocol version/);
    const weak = { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' } as const;
    await expect(open(weak)).rejects.toThrow(/alert handshake failure/);
    await eventually(async () => (await failed()) === 2);
  });

  it('speaks no TLS 1.2 where the document says so', async () => {
    await start({ minVersion: 'TLSv1.3' });
    await expect(open({ maxVersion: 'TLSv1.2' })).rejects.toThrow();
    await using client = await open();
    expect(client.socket.getProtocol()).toBe('TLSv1.3');
  });

  it('answers 421 to a request for a host of another certificate', async () => {
    await share();
    await using client = await open();
    const status = async (host: string) => {
      const { status: code, fields } = await client.ask('GET', '/', [`host: ${host}`]);
      return `${code} ${fields.get('x-evenkeel-reason') ?? ''}`;
    };
    expect(await status('shop.test')).toBe('200 ');
    expect(await status('SHOP.test:443')).toBe('200 ');
    expect(await status('www.shop.test.')).toBe('200 ');
    expect(await status('api.wild.test')).toBe('421 misdirected');
    expect(await status('some.wild.test')).toBe('421 misdirected');
    // Nobody's name: whether it is served is a matter of routes.
    expect(await status('unknown.test')).toBe('200 ');
    // A certificate that has the name too is good enough.
    await using wide = await open({ servername: 'some.wild.test' });
    expect((await wide.ask('GET', '/', ['host: api.wild.test'])).status).toBe(200);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'resumes a %s session on any worker, for every certificate',
    async (version) => {
      await start({}, {}, 2);
      for (const servername of ['shop.test', 'other.wild.test']) {
        const options = { servername, minVersion: version, maxVersion: version } as const;
        const session = await sessionOf(options);
        let resumed = 0;
        for (let i = 0; i < 12; i++) {
          await using client = await open({ ...options, session });
          if (client.socket.isSessionReused()) resumed++;
          expect((await client.ask('GET', '/', [`host: ${servername}`])).status).toBe(200);
        }
        expect(resumed).toBe(12);
      }
    },
  );

  async function sessionOf(options: ConnectionOptions = {}, port = proxy!.port()): Promise<Buffer> {
    await using client = await tlsClient(port, { ca: authority.pair.cert, servername: 'shop.test', ...options });
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    client.socket.on('session', resolve);
    if (options.maxVersion === 'TLSv1.2') return client.socket.getSession() as Buffer;
    await client.ask('GET', '/', [`host: ${options.servername ?? 'shop.test'}`]);
    return promise;
  }

  it('requires a client certificate of its authority, and no session of another listener stands in for it', async () => {
    const certificates = [filesOf(shop)];
    const own = { certificates, clientCertificates: 'require', clientCa: authority.pair.certFile };
    const document = documentOf();
    const locked = { ...document.listeners[0], name: 'locked', tls: own };
    const strangers = new Authority(directory.path, 'stranger');
    const theirs = { ...locked, name: 'theirs', tls: { ...own, clientCa: strangers.pair.certFile } };
    proxy = await startProxy({ ...document, listeners: [...document.listeners, locked, theirs] });
    const port = proxy.port('locked');
    const knock = async (options: ConnectionOptions = {}) => {
      await using client = await tlsClient(port, { ca: authority.pair.cert, servername: 'shop.test', ...options });
      const { status } = await client.ask('GET', '/', ['host: shop.test']);
      return [status, client.socket.isSessionReused()];
    };
    const me = authority.issue('me', ['me.test']);
    expect(await knock({ cert: me.cert, key: me.key })).toEqual([200, false]);
    await expect(knock()).rejects.toThrow();
    const { cert, key } = strangers.issue('other', ['me.test']);
    await expect(knock({ cert, key })).rejects.toThrow();
    // Where strangers are welcome a session says that its client was believed: here it says nothing.
    await expect(knock({ cert, key, session: await sessionOf({ cert, key }, proxy.port('theirs')) })).rejects.toThrow();
    await expect(knock({ session: await sessionOf() })).rejects.toThrow();
    const session = await sessionOf({ cert: me.cert, key: me.key }, port);
    expect(await knock({ session, cert: me.cert, key: me.key })).toEqual([200, true]);
  });

  it('asks for a client certificate without insisting, but believes no false one', async () => {
    await start({ clientCertificates: 'request', clientCa: authority.pair.certFile });
    await using nobody = await open();
    expect((await nobody.ask('GET', '/', ['host: shop.test'])).status).toBe(200);
    const { cert, key } = new Authority(directory.path, 'false').issue('false', ['me.test']);
    const knock = async () => {
      await using client = await open({ cert, key });
      return await client.ask('GET', '/', ['host: shop.test']);
    };
    await expect(knock()).rejects.toThrow();
    await eventually(async () => (await failed()) === 1);
  });

  it('counts plain HTTP and garbage on its port as failed handshakes, and a connection without a word not', async () => {
    await start();
    for (const bytes of [request('GET', '/'), '\x16\x03\x01\x00\x05hello', 'x'.repeat(70_000)]) {
      await using client = await rawClient(proxy!.port());
      client.write(bytes);
      await client.ended();
    }
    await using silent = await rawClient(proxy!.port());
    silent.end();
    await silent.ended();
    await eventually(async () => (await failed()) === 3);
    await eventually(async () => (await proxy!.metric('evenkeel_connections_active')) === 0);
    await using client = await open();
    expect((await client.ask('GET', '/', ['host: shop.test'])).status).toBe(200);
  });

  it('ends a handshake that takes too long, however many bytes come', async () => {
    await start({}, { timeouts: { head: '300ms' } });
    await using client = await rawClient(proxy!.port());
    client.write('\x16\x03\x01\x02\x00\x01');
    const drip = setInterval(() => client.write('\x00'), 20);
    const sinceMs = stopwatch(proxy!.pid);
    await client.ended();
    clearInterval(drip);
    expect(sinceMs()).toBeLessThan(2_000);
    await eventually(async () => (await failed()) === 1);
  });

  it('counts handshakes under way against the limit of connections', async () => {
    await start({}, { limits: { connections: 2 } });
    await using first = await rawClient(proxy!.port());
    await using second = await rawClient(proxy!.port());
    await eventually(async () => (await proxy!.metric('evenkeel_connections_active')) === 2);
    await expect(open()).rejects.toThrow();
    first.reset();
    second.reset();
    await eventually(async () => (await proxy!.metric('evenkeel_connections_active')) === 0);
    await using client = await open();
    expect((await client.ask('GET', '/', ['host: shop.test'])).status).toBe(200);
  });

  it('keeps nothing of a thousand handshakes', { timeout: 60_000 }, async () => {
    await share();
    const some = async (count: number) => {
      for (let i = 0; i < count; i += 10) {
        await Promise.all(
          Array.from({ length: 10 }, async () => {
            await using client = await open();
            await client.ask('GET', '/', ['host: shop.test']);
          }),
        );
      }
    };
    await some(1_000);
    // A connection that stayed would hold some 50 KiB in OpenSSL alone, in every round; the collector takes its time in one or the other.
    let grown = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 3 && grown >= 15 * 1024; round++) {
      const before = await proxy!.memory();
      await some(1_000);
      await eventually(async () => (await proxy!.metric('evenkeel_connections_active')) === 0);
      grown = ((await proxy!.memory()) - before) / 1_000;
    }
    expect(grown).toBeLessThan(15 * 1024);
  });

  describe('whose files change', () => {
    const pathOf = (name: string) => join(directory.path, name);

    async function startWithCopies(): Promise<RunningProxy> {
      await use(shop);
      return start({ certificates: [{ cert: pathOf('now.pem'), key: pathOf('now.key') }] }, {}, 2);
    }

    async function use({ certFile, keyFile }: Pair): Promise<void> {
      await copyFile(certFile, pathOf('now.pem'));
      await copyFile(keyFile, pathOf('now.key'));
    }

    it('shows a new pair after a reload without losing a handshake, and lets open connections go on', {
      timeout: 60_000,
    }, async () => {
      await startWithCopies();
      await using old = await open();
      const serial = () => old.socket.getPeerCertificate().serialNumber;
      const lost: string[] = [];
      const seen = new Set<string>();
      let stopping = false;
      const clients = Array.from({ length: 4 }, async () => {
        while (!stopping) {
          try {
            await using client = await open();
            seen.add(client.socket.getPeerCertificate().serialNumber);
            if ((await client.ask('GET', '/', ['host: shop.test'])).status !== 200) lost.push('status');
          } catch (error) {
            lost.push(String(error));
          }
        }
      });
      await eventually(() => seen.has(serial()));
      for (let i = 0; i < 4; i++) {
        const next = authority.issue('shop', ['shop.test']);
        await use(next);
        expect(await proxy!.reload()).toBe('reloaded');
        await eventually(() => seen.has(new X509Certificate(next.cert).serialNumber));
      }
      stopping = true;
      await Promise.all(clients);
      expect(lost).toEqual([]);
      expect(seen.size).toBe(5);
      expect((await old.ask('GET', '/', ['host: shop.test'])).status).toBe(200);
    });

    it('refuses a pair that does not belong together, and runs on with the old one', async () => {
      await startWithCopies();
      await copyFile(wild.keyFile, pathOf('now.key'));
      expect(await proxy!.reload()).toBe('reload-refused');
      const problems = JSON.stringify(proxy!.events('reload-refused')[0].problems);
      expect(problems).toMatch(/listeners\[0\]\.tls\.certificates\[0\]\.key .*now\.key is not the key of .*now\.pem/);
      await using client = await open();
      expect(shown(client)).toBe('shop');
    });

    it('never shows a key: not in the log, not by the admin API', async () => {
      await startWithCopies();
      await writeFile(pathOf('now.key'), 'nonsense');
      await proxy!.reload();
      const config = JSON.stringify(await proxy!.api('/api/v1/config'));
      for (const text of [proxy!.child.stderr, proxy!.child.stdout, config]) {
        for (const line of shop.key.split('\n').slice(1, 3)) expect(text).not.toContain(line);
      }
      expect(config).toContain('now.key');
    });

    it('resumes sessions over a reload', async () => {
      await startWithCopies();
      const session = await sessionOf();
      await proxy!.write(documentOf({ certificates: [filesOf(shop)] }, { timeouts: { idle: '70s' } }, 2));
      expect(await proxy!.reload()).toBe('reloaded');
      await using client = await open({ session });
      expect(client.socket.isSessionReused()).toBe(true);
    });

    it('goes from plain text to TLS and back, each connection as it began', async () => {
      const plain = documentOf();
      const { tls: _, ...open_ } = plain.listeners[0];
      proxy = await startProxy({ ...plain, listeners: [open_] });
      await using old = await rawClient(proxy.port());
      expect((await old.ask('GET', '/')).status).toBe(200);
      await proxy.write(documentOf());
      expect(await proxy.reload()).toBe('reloaded');
      await using secure = await open();
      expect((await secure.ask('GET', '/', ['host: shop.test'])).status).toBe(200);
      expect(origin.requests.at(-1)!.fields.get('x-forwarded-proto')).toBe('https');
      await old.ask('GET', '/');
      expect(origin.requests.at(-1)!.fields.get('x-forwarded-proto')).toBe('http');
      await proxy.write({ ...plain, listeners: [open_] });
      await proxy.reload();
      expect((await ask(proxy.port(), 'GET', '/')).status).toBe(200);
    });
  });

  it('says where in the document a file is at fault, and starts nothing', async () => {
    const key = await directory.write('none.key', 'none');
    const certificates = [
      { cert: join(directory.path, 'missing.pem'), key: shop.keyFile },
      { cert: shop.certFile, key: wild.keyFile },
      { cert: shop.keyFile, key },
    ];
    const file = await directory.write('faulty.json', JSON.stringify(documentOf({ certificates })));
    const { code, stdout, stderr: failure } = await runProcess(process.execPath, [MAIN, 'run', '-c', file]);
    expect([code, stdout]).toEqual([78, '']);
    expect(failure).toMatch(/tls\.certificates\[0\]\.cert {2}cannot read .*missing\.pem: there is no such file/);
    expect(failure).toMatch(/tls\.certificates\[1\]\.key {2}.* is not the key of /);
    expect(failure).toMatch(/tls\.certificates\[2\]\.cert {2}.* holds no certificate/);
  });
});
