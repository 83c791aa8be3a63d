import { once } from 'node:events';
import { createServer, get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { EventStream } from '../../../src/admin/event-stream.ts';
import { EventLog } from '../../../src/telemetry/event-log.ts';
import { eventually } from '../../helpers/eventually.ts';

async function setUp() {
  const events = new EventLog({ log: pino({ level: 'silent' }) });
  const stream = new EventStream(events);
  stream.start();
  const server = createServer((_, response) => stream.open(response, {}, events.lastId)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    stream.close();
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const open = async () => {
    const [response] = (await once(get({ host: '127.0.0.1', port, agent: false }), 'response')) as [IncomingMessage];
    response.on('error', () => {});
    onTestFinished(() => void response.destroy());
    return response;
  };
  return { events, stream, open };
}

it('cuts off a listener that does not read, and keeps the others', async () => {
  const { events, stream, open } = await setUp();
  const reader = await open();
  let heard = '';
  reader.on('data', (chunk: Buffer) => {
    heard = (heard + chunk.toString()).slice(-2000);
  });
  // Never read: its buffers fill, first its own, then the kernel's, then ours.
  await open();
  expect(stream.size).toBe(2);
  const reason = 'x'.repeat(64 * 1024);
  let published = 0;
  await eventually(() => {
    events.publish({ type: 'worker-died', worker: 0, reason });
    published++;
    return stream.size === 1;
  });
  // What it may keep waiting, the kernel's buffers for both ends of a loopback socket, and some.
  expect(published * reason.length).toBeLessThan(32 * 1024 * 1024);
  events.publish({ type: 'fit', pool: 'web', endpoint: 'a:1' });
  await eventually(() => heard.includes('"type":"fit"'));
});

it('is full at 64 listeners, and has room again when one leaves', async () => {
  const { stream, open } = await setUp();
  const listeners = await Promise.all(Array.from({ length: 64 }, open));
  expect([stream.size, stream.isFull]).toEqual([64, true]);
  listeners[0].destroy();
  await eventually(() => !stream.isFull);
});

it('ends every stream when it closes, and hears no more events', async () => {
  const { events, stream, open } = await setUp();
  const response = await open();
  response.resume();
  stream.close();
  await once(response, 'end');
  events.publish({ type: 'ready' });
  expect(stream.size).toBe(0);
});
