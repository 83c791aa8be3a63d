import { readdirSync, readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { startOrigin } from '../helpers/origin.ts';
import { startProxy } from '../helpers/proxy.ts';
import { ask, rawClient, request } from '../helpers/raw-client.ts';

/** An endpoint whose accept queue is full until it is told to go on: connections to it hang in the handshake. */
const FULL_ENDPOINT = `
  const { createServer } = require('node:net');
  const { parentPort, workerData } = require('node:worker_threads');
  const lines = [];
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      lines.push(bytes.toString('latin1').split('\\r\\n', 1)[0]);
      socket.write('seen');
    });
  });
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    parentPort.postMessage(server.address().port);
    Atomics.wait(workerData, 0, 0);
  });
  parentPort.on('message', () => parentPort.postMessage(lines));
`;

/** Whether no thread of the process runs. */
function isStopped(pid: number): boolean {
  const tasks = readdirSync(`/proc/${pid}/task`);
  return tasks.every((task) => /\) [Tt] /.test(readFileSync(`/proc/${pid}/task/${task}/stat`, 'utf8')));
}

describe('an endpoint gets what is meant for it, and nothing else', () => {
  const closing: (() => unknown)[] = [];

  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  function message<T>(worker: Worker): Promise<T> {
    return new Promise((resolve) => worker.once('message', resolve));
  }

  function open(port: number): Socket {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.on('error', () => {});
    closing.push(() => socket.destroy());
    return socket;
  }

  it('does not send a request after it gave the connection up, even if that is opened late', async () => {
    const gate = new Int32Array(new SharedArrayBuffer(4));
    const endpoint = new Worker(FULL_ENDPOINT, { eval: true, workerData: gate });
    closing.push(() => endpoint.terminate());
    const port = await message<number>(endpoint);
    const fillers = [open(port), open(port), open(port), open(port)];
    await eventually(() => fillers.filter((one) => !one.connecting).length >= 2);
    await using proxy = await startProxy({
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: `127.0.0.1:${port}` }], timeouts: { connect: '200ms' }, retry: 'off' } },
    });
    const response = await ask(proxy.port(), 'POST', '/once', [], 'money');
    expect([response.status, response.fields.get('x-evenkeel-reason')]).toEqual([504, 'connect-timeout']);
    // Its handshake is repeated on the same schedule as that of the connection that was given up, and later than it.
    const witness = open(port);
    Atomics.store(gate, 0, 1);
    Atomics.notify(gate, 0);
    const seen = new Promise((resolve) => witness.once('data', resolve));
    witness.write('WITNESS\r\n');
    await seen;
    const lines = message<string[]>(endpoint);
    endpoint.postMessage('lines');
    expect(await lines).toEqual(['WITNESS']);
  });

  it('does not take for an answer what an idle connection said before the request', async () => {
    await using origin = await startOrigin();
    await using proxy = await startProxy({
      runtime: { workers: 1 },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: origin.address }], timeouts: { idle: '10s' } } },
    });
    const sockets: Socket[] = [];
    origin.handler = (_, reply) => {
      sockets.push(reply.socket);
      reply.send(200, 'answer');
    };
    await using client = await rawClient(proxy.port());
    await client.ask('GET', '/');
    // More than a second, so that the proxy looks before it uses the connection: that is what the story is about.
    await new Promise((resolve) => setTimeout(resolve, 1300));
    // Both arrive in one turn of the proxy's loop, as it sleeps in between.
    proxy.child.kill('SIGSTOP');
    await eventually(() => isStopped(proxy.child.pid));
    client.write(request('GET', '/'));
    sockets[0].write('HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n');
    await eventually(() => sockets[0].writableLength === 0 && client.socket.writableLength === 0);
    proxy.child.kill('SIGCONT');
    const response = await client.response();
    expect([response.status, response.text]).toEqual([200, 'answer']);
    expect(sockets.length).toBe(2);
  });

  it('refuses a switch of protocols before the request is whole', async () => {
    await using origin = await startOrigin();
    await using proxy = await startProxy({
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: origin.address }] } },
    });
    origin.handler = (_, reply) => {
      reply.raw('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n');
    };
    await using client = await rawClient(proxy.port());
    client.write(request('POST', '/', ['connection: upgrade', 'upgrade: chat', 'content-length: 10'], 'part'));
    const response = await client.response();
    expect([response.status, response.fields.get('x-evenkeel-reason')]).toEqual([502, 'bad-response']);
    expect(await client.ended()).toBe('end');
  });
});
