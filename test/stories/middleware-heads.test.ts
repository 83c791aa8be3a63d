import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type Balancer, createBalancer } from '../../src/embed/balancer.ts';
import { startOrigins } from '../helpers/balanced-origins.ts';
import type { Fields } from '../helpers/http-message.ts';
import { ask } from '../helpers/raw-client.ts';

async function serve(
  listener: RequestListener,
  host = '127.0.0.1',
): Promise<Server & AsyncDisposable & { port: number }> {
  const server = createServer(listener).listen(0, host);
  await once(server, 'listening');
  return Object.assign(server, {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

function balancerOver(endpoints: readonly { address: string }[], pool: object = {}): Promise<Balancer> {
  return createBalancer({ pools: { orders: { endpoints, ejection: 'off', ...pool } } });
}

const LIES = [
  'X-Forwarded-For: 6.6.6.6',
  'X-Forwarded-For: 7.7.7.7',
  'X-Forwarded-Proto: https',
  'X-Forwarded-Host: evil.example',
  'X-Forwarded-Port: 666',
  'X-Forwarded-Prefix: /evil',
  'x_forwarded_ssl: evil',
  'X-Real-IP: 6.6.6.6',
  'Forwarded: for=6.6.6.6',
];
const EVIL = /6\.6\.6\.6|7\.7\.7\.7|666|evil/;

const valuesOf = (fields: Fields) => fields.lines.map(([, value]) => value).join('\n');

describe('the head that an endpoint gets from a middleware', () => {
  it.each(['DELETE', 'OPTIONS', 'GET'])(
    'frames the chunked body of a %s, so that it never is a request of its own',
    async (method) => {
      await using origins = await startOrigins(1);
      origins[0].handler = async (asked, reply) => {
        await asked.ended;
        reply.send(200, asked.target);
      };
      await using balancer = await balancerOver(origins.settings);
      await using host = await serve(balancer.middleware('orders'));
      const body = 'GET /admin HTTP/1.1\r\nHost: a\r\n\r\n';
      const chunks = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
      expect((await ask(host.port, method, '/x', ['Transfer-Encoding: chunked'], chunks)).text).toBe('/x');
      expect((await ask(host.port, 'GET', '/next')).text).toBe('/next');
      expect(origins[0].requests.map(({ target }) => target)).toEqual(['/x', '/next']);
      expect(origins[0].requests[0].body.toString()).toBe(body);
      expect(origins[0].requests[0].fields.all('transfer-encoding')).toEqual(['chunked']);
      expect(origins[0].requests[0].fields.get('content-length')).toBeUndefined();
      expect(origins[0].faults).toEqual([]);
    },
  );

  it('replaces what a stranger says of the client, every line of it, and tells the host itself what was sent', async () => {
    await using origins = await startOrigins(1);
    await using balancer = await balancerOver(origins.settings);
    const pass = balancer.middleware('orders');
    const seen: IncomingMessage['headers'][] = [];
    await using host = await serve((asked, response) => {
      response.once('finish', () => seen.push(asked.headers));
      pass(asked, response);
    });
    await ask(host.port, 'GET', '/', LIES);
    const { fields } = origins[0].requests[0];
    expect(valuesOf(fields)).not.toMatch(EVIL);
    expect(fields.all('x-forwarded-for')).toEqual(['127.0.0.1']);
    expect(fields.all('x-forwarded-host')).toEqual(['story']);
    expect(fields.all('x-real-ip')).toEqual(['127.0.0.1']);
    expect(fields.all('forwarded')).toEqual(['for=127.0.0.1;proto=http']);
    expect(seen[0]).toMatchObject({ 'x-real-ip': '6.6.6.6', forwarded: 'for=6.6.6.6' });
  });

  it('appends to what is believed', async () => {
    await using origins = await startOrigins(1);
    await using balancer = await balancerOver(origins.settings);
    await using host = await serve(balancer.middleware('orders', { trustForwarded: true }));
    await ask(host.port, 'GET', '/', LIES);
    const { fields } = origins[0].requests[0];
    expect(fields.all('x-forwarded-for')).toEqual(['6.6.6.6, 7.7.7.7, 127.0.0.1']);
    expect(fields.all('x-forwarded-proto')).toEqual(['https']);
    expect(fields.all('x-forwarded-host')).toEqual(['evil.example']);
    expect(fields.all('x-real-ip')).toEqual(['6.6.6.6']);
    expect(fields.all('forwarded')).toEqual(['for=6.6.6.6, for=127.0.0.1;proto=http']);
  });

  it("has nothing of the client's connection, and what Connection names only where the host did not say it", async () => {
    await using origins = await startOrigins(1);
    await using balancer = await balancerOver(origins.settings);
    const pass = balancer.middleware('orders');
    await using host = await serve((asked, response) => {
      asked.headers['x-user'] = 'ann';
      pass(asked, response);
    });
    await ask(host.port, 'GET', '/', [
      'Connection: keep-alive, X-Secret, x-user, Host, Upgrade',
      'X-Secret: 1',
      'X-User: eve',
      'Upgrade: h2c',
      'Keep-Alive: timeout=1',
      'Proxy-Connection: keep-alive',
      'Proxy-Authorization: Basic abc',
      'TE: gzip, trailers',
      'X-Evenkeel-Attempt: 7',
      'X-Plain: 1',
    ]);
    const { fields } = origins[0].requests[0];
    const names = fields.lines.map(([name]) => name.toLowerCase());
    expect(names.toSorted()).toEqual([
      'connection',
      'host',
      'te',
      'x-forwarded-for',
      'x-forwarded-host',
      'x-forwarded-proto',
      'x-plain',
      'x-user',
    ]);
    expect(['connection', 'host', 'te', 'x-user'].map((name) => fields.get(name))).toEqual([
      'keep-alive',
      'story',
      'trailers',
      'ann',
    ]);
  });

  it('lies as little about the client of a WebSocket, and offers the switch', async () => {
    await using origins = await startOrigins(1);
    await using balancer = await balancerOver(origins.settings);
    await using host = await serve((_, response) => response.end());
    host.on('upgrade', balancer.upgrade('orders'));
    const headers = Object.fromEntries(LIES.map((line) => line.split(': ')));
    const client = new WebSocket(`ws://127.0.0.1:${host.port}`, { headers: { ...headers, te: 'gzip' } });
    client.on('error', () => {});
    await once(client, 'unexpected-response');
    client.terminate();
    const { fields } = origins[0].requests[0];
    expect(valuesOf(fields)).not.toMatch(EVIL);
    expect(fields.get('te')).toBeUndefined();
    expect([fields.get('connection')?.toLowerCase(), fields.get('upgrade')]).toEqual(['upgrade', 'websocket']);
    expect(fields.get('sec-websocket-key')).toBeDefined();
  });

  it('names an IPv4 client of a dual-stack server as listeners do, and hashes it to the same endpoint', async () => {
    await using origins = await startOrigins(4);
    const pool = { scheduler: { kind: 'hash', on: 'client' } };
    await using balancer = await balancerOver(origins.settings, pool);
    await using dual = await serve(balancer.middleware('orders'), '::');
    await using plain = await serve(balancer.middleware('orders'), '127.0.0.1');
    const [byDual, byPlain] = [await ask(dual.port, 'GET', '/'), await ask(plain.port, 'GET', '/')];
    expect(byDual.text).toBe(byPlain.text);
    const asked = origins.all.flatMap(({ requests }) => requests);
    expect(asked.map(({ fields }) => fields.get('x-forwarded-for'))).toEqual(['127.0.0.1', '127.0.0.1']);
  });
});
