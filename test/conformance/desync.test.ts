import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, type OriginRequest, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { rawClient } from '../helpers/raw-client.ts';
import { DESYNCS } from './desync.ts';

/**
 * The known ways to make two parsers disagree, sent through the program to an endpoint that writes down what it was asked by a strict parser of
 * its own: it sees the very request that was sent, or none, and nothing that was hidden in one.
 */
describe('what is known to pull parsers apart', () => {
  let origin: Origin;
  let proxy: RunningProxy;
  let ended: OriginRequest[] = [];

  beforeAll(async () => {
    origin = await startOrigin(async (asked, reply) => {
      if (asked.fields.get('expect') !== undefined) reply.raw('HTTP/1.1 100 Continue\r\n\r\n');
      await asked.ended;
      ended.push(asked);
      reply.send(200, 'ok');
    });
    proxy = await startProxy({
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: origin.address }], retry: 'off', ejection: 'off' } },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await origin.close();
  });

  afterEach(async () => {
    // Whatever came of it, the next client is served, on the connections that are left.
    await using next = await rawClient(proxy.port());
    expect((await next.ask('GET', '/next')).text).toBe('ok');
    expect(ended.at(-1)?.target).toBe('/next');
    expect(origin.faults).toEqual([]);
    ended = [];
  });

  it('comes in at least 150 attempts, each with a name of its own', () => {
    expect(DESYNCS.length).toBeGreaterThanOrEqual(150);
    expect(new Set(DESYNCS.map(({ family, name }) => `${family} ${name}`)).size).toBe(DESYNCS.length);
  });

  it.each(DESYNCS.map((one) => [`${one.family}: ${one.name}`, one] as const))('%s', async (_, one) => {
    const before = origin.requests.length;
    await using client = await rawClient(proxy.port());
    client.write(one.bytes);
    for (const status of one.statuses) expect((await client.response()).status).toBe(status);
    // A refusal ends the connection: nothing behind it is looked at.
    if (one.statuses.some((status) => status !== 200) && one.goesOn !== true) await client.ended();
    expect(ended.map((asked) => `${asked.method} ${asked.target} ${asked.body.toString('latin1')}`)).toEqual(one.seen);
    const begun = origin.requests.slice(before);
    expect(begun.map(({ target }) => target).filter((target) => /hidden|inner/.test(target))).toEqual([]);
    for (const asked of begun)
      expect(asked.fields.names.filter((name) => one.without?.includes(name) === true)).toEqual([]);
    // A request that was begun and refused on the way is never whole, and its connection is not used again.
    for (const asked of begun.filter((asked) => !ended.includes(asked))) {
      await asked.gone;
      expect(origin.requests.filter(({ connection }) => connection === asked.connection).at(-1)).toBe(asked);
    }
    expect(client.receivedLength).toBe(0);
  });

  it('never gives one client the answer to what another one hid', async () => {
    await using attacker = await rawClient(proxy.port());
    attacker.write(DESYNCS.find(({ family }) => family === 'CL.0')?.bytes ?? '');
    origin.handler = async (asked, reply) => {
      await asked.ended;
      ended.push(asked);
      reply.send(200, asked.target === '/next' ? 'ok' : asked.target);
    };
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => ask(i)));
    expect(answers).toEqual(Array.from({ length: 20 }, (_, i) => `/victim-${i}`));
    await eventually(() => ended.length >= 22);

    async function ask(i: number): Promise<string> {
      await using one = await rawClient(proxy.port());
      return (await one.ask('GET', `/victim-${i}`)).text;
    }
  });
});
