import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { rawClient, request } from '../helpers/raw-client.ts';

const MIB = 1024 * 1024;

describe('a client that takes its time', () => {
  let origin: Origin;
  let proxy: RunningProxy;

  beforeAll(async () => {
    origin = await startOrigin();
    proxy = await startProxy({
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: origin.address }], ejection: 'off', timeouts: { between: '1s' } } },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await origin.close();
  });

  it('is cut when it takes nothing for the time between bytes, and the endpoint is let go without blame', async () => {
    origin.handler = (_, reply) => void reply.send(200, Buffer.alloc(64 * MIB));
    const before = origin.requests.length;
    await using client = await rawClient(proxy.port(), { paused: true });
    client.write(request('GET', '/'));
    await eventually(() => origin.requests.length > before);
    await origin.requests.at(-1)!.gone;
    await eventually(async () => (await proxy.endpoint('web', origin.address)).active === 0);
    const outcome = (word: string) => proxy.metric('evenkeel_endpoint_requests_total', { outcome: word });
    await eventually(async () => (await outcome('client-gone')) === 1);
    expect(await outcome('timed-out')).toBe(0);
  });

  it('is not read further while it leaves its responses unread', async () => {
    const body = Buffer.alloc(48 * 1024, 'x');
    let answered = 0;
    origin.handler = (_, reply) => {
      answered++;
      reply.send(200, body);
    };
    await using client = await rawClient(proxy.port(), { paused: true });
    const count = 2000;
    client.write(request('GET', '/').repeat(count));
    let last = -1;
    await eventually(
      () => {
        const still = answered === last;
        last = answered;
        return still && answered > 0;
      },
      { intervalMs: 500, timeoutMs: 20_000 },
    );
    // 2000 responses are 94 MiB; what the kernel and one bounded buffer hold is less than a third of it.
    expect(answered).toBeLessThan(count / 3);
    client.resume();
    for (let i = 0; i < count; i++) expect((await client.response()).body.length).toBe(body.length);
  });
});
