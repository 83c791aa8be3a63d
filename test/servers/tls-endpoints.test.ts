import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Authority, findOpenssl, type Pair } from '../helpers/certificates.ts';
import { eventually } from '../helpers/eventually.ts';
import { startOrigin } from '../helpers/origin.ts';
import { freePort } from '../helpers/ports.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask } from '../helpers/raw-client.ts';
import { requireServer } from '../helpers/require-server.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../helpers/temporary-directory.ts';
import { findNginx, type Nginx, startNginx } from './nginx.ts';

const isSkipped = [requireServer('nginx', findNginx()), requireServer('openssl', findOpenssl())].includes(true);

describe.skipIf(isSkipped)('TLS to a real nginx', () => {
  let directory: TemporaryDirectory;
  let authority: Authority;
  let stranger: Authority;
  let own: Pair;
  let nginx: Nginx;
  /** By what they show: a name, an address, and one that asks for a certificate. */
  let ports: { named: number; address: number; locked: number };
  let proxy: RunningProxy | null = null;

  beforeAll(async () => {
    directory = await temporaryDirectory('tls-endpoints');
    authority = new Authority(directory.path, 'authority');
    stranger = new Authority(directory.path, 'stranger');
    own = authority.issue('proxy', ['proxy.test']);
    ports = { named: await freePort(), address: await freePort(), locked: await freePort() };
    const server = (port: number, { certFile, keyFile }: Pair, more = '') => `
      server {
        listen 127.0.0.1:${port} ssl; ssl_certificate ${certFile}; ssl_certificate_key ${keyFile}; ${more}
        location / { default_type text/plain; return 200 "$ssl_server_name $ssl_session_reused $ssl_client_s_dn"; }
      }`;
    const named = authority.issue('named', ['orders.internal', 'localhost']);
    nginx = await startNginx({
      name: 'plain',
      http: `ssl_session_cache shared:TLS:1m;
        ${server(ports.named, named, 'keepalive_timeout 0;')}
        ${server(ports.address, authority.issue('address', ['IP:127.0.0.1']))}
        ${server(ports.locked, named, `ssl_client_certificate ${authority.pair.certFile}; ssl_verify_client on;`)}`,
    });
  });

  afterAll(async () => {
    await nginx.stop();
    await directory.close();
  });

  afterEach(async () => {
    await proxy?.stop();
    proxy = null;
  });

  function documentOf(address: string, tls: object | undefined, more: object = {}) {
    return {
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address }], tls, ...more } },
    };
  }

  async function start(address: string, tls: object | undefined, more: object = {}): Promise<void> {
    proxy = await startProxy(documentOf(address, tls, more));
  }

  const answer = async (method = 'GET') => {
    const { status, text, fields } = await ask(proxy!.port(), method, '/', [], method === 'POST' ? 'body' : '');
    return status === 200 ? text : `${status} ${fields.get('x-evenkeel-reason')}`;
  };

  const ca = () => authority.pair.certFile;
  const warnings = () => proxy!.child.stderr.split('\n').filter((line) => line.includes('no TLS handshake'));

  it('verifies by the configured name, which it asks for', async () => {
    await start(`127.0.0.1:${ports.named}`, { ca: ca(), serverName: 'orders.internal' });
    expect(await answer()).toBe('orders.internal . ');
    expect(await answer('POST')).toBe('orders.internal r ');
  });

  it("verifies by the endpoint's DNS name", async () => {
    await start(`localhost:${ports.named}`, { ca: ca() });
    await eventually(async () => (await answer()).startsWith('localhost'));
  });

  it('verifies by the address where there is no name', async () => {
    await start(`127.0.0.1:${ports.address}`, { ca: ca() });
    expect(await answer()).toBe(' . ');
  });

  it.each([
    ['an authority it does not know', () => ({ ca: stranger.pair.certFile, serverName: 'orders.internal' })],
    ["the system's authorities, which do not know it", () => ({ serverName: 'orders.internal' })],
    ['another name than the certificate has', () => ({ ca: ca(), serverName: 'elsewhere.internal' })],
    ['an address the certificate does not have', () => ({ ca: ca() })],
  ])('does not believe %s: 502, ejected, logged once, nothing sent', async (_, tls) => {
    const id = `127.0.0.1:${ports.named}`;
    // The last endpoint of a pool is never ejected.
    const endpoints = [{ address: id }, { address: `127.0.0.1:${await freePort()}`, backup: true }];
    await start(id, tls(), { endpoints, retry: 'off', panic: 'off' });
    const asked = (await nginx.requests()).length;
    for (let i = 0; i < 5; i++) expect(await answer()).toBe('502 connect-failed');
    await eventually(async () => (await proxy!.endpoint('web', id)).down.includes('ejected'));
    await eventually(() => warnings().length > 0);
    expect(warnings()).toHaveLength(1);
    expect(warnings()[0]).toMatch(/"reason":"(UNABLE_TO|SELF_SIGNED|ERR_TLS_CERT_ALTNAME)/);
    expect(await nginx.requests()).toHaveLength(asked);
  });

  it('believes anyone where the document says so', async () => {
    await start(`127.0.0.1:${ports.named}`, { verify: false });
    expect(await answer()).toBe(' . ');
  });

  it('shows its own certificate', async () => {
    const { certFile: cert, keyFile: key } = own;
    await start(`127.0.0.1:${ports.locked}`, { ca: ca(), serverName: 'orders.internal', cert, key });
    expect(await answer()).toBe('orders.internal . CN=proxy');
  });

  it('resumes sessions', async () => {
    await start(`127.0.0.1:${ports.named}`, { ca: ca(), serverName: 'orders.internal' });
    expect(await answer()).toBe('orders.internal . ');
    for (let i = 0; i < 3; i++) expect(await answer()).toBe('orders.internal r ');
  });

  it('says that an endpoint speaks no TLS', async () => {
    await start(`127.0.0.1:${nginx.port}`, { ca: ca() });
    expect(await answer()).toBe('502 connect-failed');
    await eventually(() => warnings()[0]?.includes('wrong version number'));
  });

  it('waits for a handshake no longer than for a connection', async () => {
    await using silent = await startOrigin({ onConnection: () => true });
    await start(silent.address, { ca: ca() }, { timeouts: { connect: '200ms' }, retry: 'off' });
    expect(await answer()).toBe('504 connect-timeout');
  });

  it('probes over TLS, and believes there whom it believes elsewhere', async () => {
    const asked = (await nginx.requests()).length;
    const probe = { kind: 'http', interval: '200ms', timeout: '1s' };
    const id = `127.0.0.1:${ports.named}`;
    await start(id, { ca: stranger.pair.certFile, serverName: 'orders.internal' }, { probe });
    await eventually(async () => (await proxy!.endpoint('web', id)).down.includes('probe'));
    await proxy!.write(documentOf(id, { ca: ca(), serverName: 'orders.internal' }, { probe }));
    expect(await proxy!.reload()).toBe('reloaded');
    await eventually(async () => (await nginx.requests()).length > asked);
    await eventually(async () => (await proxy!.endpoint('web', id)).down.length === 0);
  });

  it('uses no connection any more that another document opened', async () => {
    const id = `127.0.0.1:${ports.address}`;
    await start(id, { verify: false });
    expect(await answer()).toBe(' . ');
    await proxy!.write(documentOf(id, { ca: stranger.pair.certFile }));
    expect(await proxy!.reload()).toBe('reloaded');
    expect(await answer()).toBe('502 connect-failed');
    await proxy!.write(documentOf(id, { ca: ca() }));
    expect(await proxy!.reload()).toBe('reloaded');
    expect(await answer()).toBe(' . ');
  });
});
