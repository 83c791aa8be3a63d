import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { rawClient } from '../helpers/raw-client.ts';
import { type HeldPort, refusingPort } from '../helpers/refusing-port.ts';

describe('CONNECT, where a route allows it', () => {
  let echo: Origin;
  let elsewhere: Origin;
  let dead: HeldPort;
  let proxy: RunningProxy;

  beforeAll(async () => {
    const onConnection = (socket: import('node:net').Socket) => {
      socket.on('data', (bytes) => socket.write(`echo ${bytes.toString('latin1')}`));
      socket.on('end', () => socket.end());
      return true;
    };
    echo = await startOrigin({ onConnection });
    elsewhere = await startOrigin();
    dead = await refusingPort();
    proxy = await startProxy({
      log: { access: 'stdout' },
      listeners: [
        {
          name: 'open',
          bind: '127.0.0.1:0',
          timeouts: { tunnel: '1s' },
          routes: [
            { match: { host: 'db.example', method: 'CONNECT' }, pool: 'echo', connect: true },
            { match: { host: 'dead.example' }, pool: 'dead', connect: true },
            { pool: 'echo' },
          ],
        },
        { name: 'closed', bind: '127.0.0.1:0', pool: 'echo' },
      ],
      pools: {
        echo: { endpoints: [{ address: echo.address }] },
        dead: { endpoints: [{ address: dead.address }], retry: 'off' },
      },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await echo.close();
    await elsewhere.close();
    await dead[Symbol.asyncDispose]();
  });

  const connectTo = async (host: string, more = '', listener = 'open') => {
    const client = await rawClient(proxy.port(listener));
    client.write(`CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n${more}`);
    return client;
  };

  it('carries bytes to and from the endpoint, those too that came before the answer', async () => {
    await using client = await connectTo('db.example:5432', 'early');
    const head = await client.head();
    expect(head.startLine).toBe('HTTP/1.1 200 Connection Established');
    expect(head.fields.names.filter((name) => /content-length|transfer-encoding|connection/.test(name))).toEqual([]);
    await client.until(() => (client.receivedLength >= 10 ? true : null), 'the echo');
    client.write('GET /not-http');
    const text = await client.until(() => {
      const all = client.received.toString('latin1');
      return all.includes('not-http') ? all : null;
    }, 'the second echo');
    expect(text).toBe('echo earlyecho GET /not-http');
    client.end();
    expect(await client.ended()).toBe('end');
    await eventually(async () => (await proxy.endpoint('echo', echo.address)).active === 0);
    await eventually(() => proxy.accessLines().some((line) => line.method === 'CONNECT' && line.status === 200));
  });

  it('never leads to the address the client names', async () => {
    await using client = await connectTo(`db.example:${elsewhere.port}`, 'hello');
    await client.head();
    await client.until(() => (client.receivedLength >= 10 ? true : null), 'the echo');
    expect(client.received.toString()).toBe('echo hello');
    for (const host of [elsewhere.address, `localhost:${elsewhere.port}`]) {
      await using other = await connectTo(host, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      expect((await other.response()).status).toBe(501);
      // What was meant for the tunnel is not read as requests.
      expect(await other.ended()).toBe('end');
      expect(other.receivedLength).toBe(0);
    }
    expect(elsewhere.connections).toBe(0);
  });

  it('is refused by a listener that does not say so, and answered 502 when no endpoint is there', async () => {
    await using refused = await connectTo('db.example:5432', '', 'closed');
    expect((await refused.response()).status).toBe(501);
    await using gone = await connectTo('dead.example:1');
    const response = await gone.response();
    expect([response.status, response.fields.get('x-evenkeel-reason')]).toEqual([502, 'connect-failed']);
    expect(await gone.ended()).toBe('end');
  });

  it('ends after timeouts.tunnel without bytes', async () => {
    await using client = await connectTo('db.example:5432');
    await client.head();
    expect(await client.ended(4000)).toBe('end');
  });
});
