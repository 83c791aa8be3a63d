import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { HttpAsker } from '../../../src/stores/http-asker.ts';
import { refusingPort } from '../../helpers/refusing-port.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function listening(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function asker(addresses: string[], more: { username?: string; password?: string } = {}): HttpAsker {
  const made = new HttpAsker({ addresses, username: '', password: '', tls: { verify: true }, ...more });
  closing.push(() => made.close());
  return made;
}

const get = { method: 'GET', path: '/apps', timeoutMs: 2000 } as const;

describe('an asker of several addresses', () => {
  it('leaves one that refuses or fails for the next, and stays with the one that answered', async () => {
    await using refusing = await refusingPort();
    let failed = 0;
    const failing = await listening((_, response) => {
      failed++;
      response.writeHead(503).end();
    });
    const good = await listening(({ url }, response) => void response.end(url));
    const many = asker([`http://${refusing.address}/eureka`, `${failing}/eureka`, `${good}/eureka`]);
    const first = await many.ask(get);
    expect([first.status, String(first.body), first.address]).toEqual([200, '/eureka/apps', `${good}/eureka`]);
    await many.ask(get);
    expect(failed).toBe(1);
    many.skip();
    expect((await many.ask(get)).address).toBe(`${good}/eureka`);
    expect(failed).toBe(2);
  });

  it('asks each once and then says why the last failed', async () => {
    await using refusing = await refusingPort();
    const address = `http://${refusing.address}`;
    await expect(asker([address, address]).ask(get)).rejects.toMatchObject({
      code: 'registry-unreachable',
      retryable: true,
      message: `${address} refuses connections`,
    });
    const failing = await listening((_, response) => void response.writeHead(500).end('why'));
    expect((await asker([failing, failing]).ask(get)).status).toBe(500);
  });

  it('says who it is by basic authentication, and inflates what comes compressed', async () => {
    const address = await listening(({ headers }, response) => {
      response.setHeader('content-encoding', 'gzip');
      response.end(gzipSync(String(headers.authorization)));
    });
    const { body } = await asker([address], { username: 'me', password: 'pass:wörd' }).ask(get);
    expect(String(body)).toBe(`Basic ${Buffer.from('me:pass:wörd').toString('base64')}`);
  });

  it('gives up an address that does not answer in time', async () => {
    const silent = await listening(() => {});
    await expect(asker([silent]).ask({ ...get, timeoutMs: 50 })).rejects.toMatchObject({ code: 'registry-timeout' });
  });
});
