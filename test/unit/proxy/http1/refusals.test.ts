import { createServer, type Socket } from 'node:net';
import { expect, it } from 'vitest';
import { Refusals } from '../../../../src/proxy/http1/refusals.ts';
import { eventually } from '../../../helpers/eventually.ts';
import { rawClient, request } from '../../../helpers/raw-client.ts';

it('answers every connection past a limit, and waits only for a few to leave', async () => {
  const refusals = new Refusals(32);
  const refused: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    refused.push(socket);
    refusals.refuse(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const clients = [];
  // None of them leaves.
  for (let i = 0; i < 10; i++) {
    const client = await rawClient(port);
    client.write(request('GET', '/'));
    clients.push(client);
  }
  for (const client of clients) expect((await client.response()).status).toBe(503);
  await eventually(() => refused.filter(({ destroyed }) => !destroyed).length === 2, { timeoutMs: 500 });
  await eventually(() => refused.every(({ destroyed }) => destroyed));
  for (const client of clients) await client[Symbol.asyncDispose]();
  await new Promise((resolve) => server.close(resolve));
});
