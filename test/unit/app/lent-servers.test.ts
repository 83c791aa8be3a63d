import { createServer, type Socket } from 'node:net';
import { expect, it } from 'vitest';
import { LentServers } from '../../../src/app/lent-servers.ts';
import type { ToWorker } from '../../../src/app/messages.ts';
import type { Workers } from '../../../src/app/workers.ts';
import { eventually } from '../../helpers/eventually.ts';
import { rawClient, request } from '../../helpers/raw-client.ts';

it('reads nothing of the connections that it passes on', async () => {
  const passed: Socket[] = [];
  const post = (_: number, message: ToWorker) => {
    if (message.kind === 'client') passed.push(message.socket);
  };
  const lent = new LentServers({ serving: () => [1], rows: () => [1], post } as unknown as Workers);
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const borrowed = lent.borrow();
  lent.take(1, 'web', 'anywhere', server);
  lent.settled(1);
  await borrowed;
  const client = await rawClient((server.address() as { port: number }).port);
  client.write(request('GET', '/'));
  await eventually(() => passed.length === 1);
  // One that is written to the other way, behind the request: what it had to read has come by then.
  passed[0].write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  await client.response();
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  expect(passed[0].bytesRead).toBe(0);
  passed[0].destroy();
  await client[Symbol.asyncDispose]();
  lent.close();
});
