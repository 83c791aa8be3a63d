import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, type OriginRequest, startOrigin } from '../helpers/origin.ts';
import { stopwatch } from '../helpers/processor-wait.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient, request } from '../helpers/raw-client.ts';

describe('a request that waits too long is sent to a second endpoint, and the first answer counts', () => {
  let good: Origin;
  let slow: Origin;
  let proxy: RunningProxy;

  beforeAll(async () => {
    good = await startOrigin({ name: 'good' });
    slow = await startOrigin({ name: 'slow' });
    // In turn: every second request begins at the slow one.
    const pool = {
      endpoints: [{ address: slow.address }, { address: good.address }],
      scheduler: 'weighted-round-robin',
      ejection: 'off',
      timeouts: { response: '3s' },
    };
    const pools = {
      hedged: { ...pool, hedging: { after: '50ms', budget: '100%' } },
      thrifty: { ...pool, hedging: { after: '5ms', budget: '5%' } },
      narrow: { ...pool, hedging: { after: '50ms', budget: '100%' }, limits: { active: 1 } },
      hasty: { ...pool, hedging: { after: '50ms', budget: '100%' }, retry: { on: ['reset', 503], budget: '100%' } },
      plain: { ...pool },
    };
    proxy = await startProxy({
      log: { access: 'stdout' },
      listeners: [
        {
          name: 'web',
          bind: '127.0.0.1:0',
          trustForwarded: ['127.0.0.9/32'],
          routes: Object.keys(pools).map((name) => ({ match: { path: `/${name}` }, pool: name })),
        },
      ],
      pools,
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await good.close();
    await slow.close();
  });

  beforeEach(() => {
    good.handler = async (asked, reply) => {
      await asked.ended;
      reply.send(200, 'good');
    };
    slow.handler = () => {};
  });

  const hedges = (pool: string, outcome: string) => proxy.metric('evenkeel_hedges_total', { pool, outcome });
  const seen = (origin: Origin, target: string) => origin.requests.filter((one) => one.target === target);

  /** Asks until a request has begun at the slow one, which happens at the second at the latest; gives what the client got for it. */
  async function askSlow(target: string, method = 'GET', lines: readonly string[] = [], body = '') {
    const begun = () => seen(slow, target).filter(({ fields }) => fields.get('x-evenkeel-attempt') === undefined);
    for (;;) {
      const before = begun().length;
      const started = performance.now();
      const ownMs = stopwatch(proxy.pid);
      const response = await ask(proxy.port(), method, target, lines, body);
      const first = begun()[before];
      if (first !== undefined) return { response, first, ms: performance.now() - started, ownMs: ownMs() };
    }
  }

  it('hides a silent endpoint, ends its connection, and does not hold it against it', async () => {
    const { response, first, ms, ownMs } = await askSlow('/hedged/silent');
    expect([response.status, response.text]).toEqual([200, 'good']);
    expect(ms).toBeGreaterThan(45);
    expect(ownMs).toBeLessThan(1500);
    await first.gone;
    await eventually(async () => (await proxy.endpoint('hedged', slow.address)).active === 0);
    const { failures, requests, down } = await proxy.endpoint('hedged', slow.address);
    expect([failures, requests, down]).toEqual([0, 0, []]);
    await eventually(async () => (await proxy.endpoint('hedged', good.address)).active === 0);
  });

  it('counts it, and says so in the access log and to the second endpoint', async () => {
    await askSlow('/hedged/said');
    await eventually(async () => (await hedges('hedged', 'won')) >= 1);
    const line = await eventually(
      () => proxy.accessLines().find(({ path, hedge }) => path === '/hedged/said' && hedge) ?? null,
    );
    expect(line).toMatchObject({ hedge: 'won', attempts: 2, endpoint: good.address, status: 200, reason: null });
    expect(seen(good, '/hedged/said').at(-1)!.fields.get('x-evenkeel-attempt')).toBe('2');
  });

  it('goes on with the first one when that answers first, and ends the second', async () => {
    const waiting: OriginRequest[] = [];
    good.handler = (asked) => void waiting.push(asked);
    slow.handler = (_, reply) => void setTimeout(() => reply.send(200, 'late'), 250);
    const { response } = await askSlow('/hedged/late');
    expect(response.text).toBe('late');
    await waiting.at(-1)!.gone;
    await waiting.at(-1)!.gone;
    await eventually(async () => (await hedges('hedged', 'lost')) >= 1);
  });

  it.each([
    ['POST', '', []],
    ['PATCH', '', []],
    ['PUT', 'a body', []],
    ['GET', '', ['connection: upgrade', 'upgrade: websocket']],
  ] as const)('sends nothing twice that may not be, or has a body: %s "%s" %j', async (method, body, lines) => {
    slow.handler = (_, reply) => void setTimeout(() => reply.send(200, 'late'), 200);
    const target = `/hedged/once-${method}-${body.length}`;
    const { response } = await askSlow(target, method, lines, body);
    expect(response.text).toBe('late');
    expect(seen(good, target).every(({ fields }) => fields.get('x-evenkeel-attempt') === undefined)).toBe(true);
  });

  it('hedges nothing without the key', async () => {
    slow.handler = (_, reply) => void setTimeout(() => reply.send(200, 'late'), 200);
    expect((await askSlow('/plain')).response.text).toBe('late');
  });

  it('lets a failed answer wait for the other attempt', async () => {
    slow.handler = (_, reply) => void setTimeout(() => reply.send(500, 'broken'), 120);
    good.handler = (_, reply) => void setTimeout(() => reply.send(200, 'good'), 250);
    expect((await askSlow('/hedged/broken')).response.text).toBe('good');
    slow.handler = (_, reply) => void setTimeout(() => reply.reset(), 120);
    expect((await askSlow('/hedged/reset')).response.text).toBe('good');
  });

  it('lets a failed second attempt go, and waits for the first', async () => {
    slow.handler = (_, reply) => void setTimeout(() => reply.send(200, 'late'), 250);
    good.handler = (_, reply) => reply.reset();
    const before = await hedges('hasty', 'failed');
    const { response } = await askSlow('/hasty/failed');
    expect(response.text).toBe('late');
    await eventually(async () => (await hedges('hasty', 'failed')) > before);
  });

  it('answers once when both fail', async () => {
    slow.handler = (_, reply) => void setTimeout(() => reply.reset(), 150);
    good.handler = (asked, reply) =>
      void (asked.fields.get('x-evenkeel-attempt') === undefined ? reply.send(200, 'good') : reply.reset());
    const { response } = await askSlow('/hedged/both');
    expect([response.status, response.fields.get('x-evenkeel-reason')]).toEqual([502, 'reset']);
    await eventually(async () => (await proxy.endpoint('hedged', good.address)).active === 0);
  });

  it('ends both when the client leaves', async () => {
    const waiting: OriginRequest[] = [];
    good.handler = (asked) => void waiting.push(asked);
    slow.handler = (asked) => void waiting.push(asked);
    await using client = await rawClient(proxy.port());
    client.write(request('GET', '/hedged/left'));
    await eventually(() => waiting.length === 2);
    client.socket.destroy();
    await Promise.all(waiting.map(({ gone }) => gone));
    await eventually(async () => (await hedges('hedged', 'abandoned')) === 1);
    for (const { address } of [good, slow])
      await eventually(async () => (await proxy.endpoint('hedged', address)).active === 0);
  });

  it('never hedges to an endpoint that is full', async () => {
    const waiting: (() => void)[] = [];
    const hold: Origin['handler'] = (_, reply) => void waiting.push(() => reply.send(200, 'held'));
    good.handler = hold;
    slow.handler = hold;
    const answers = [ask(proxy.port(), 'GET', '/narrow/1'), ask(proxy.port(), 'GET', '/narrow/2')];
    await eventually(async () => (await hedges('narrow', 'no-endpoint')) === 2);
    expect(waiting.length).toBe(2);
    for (const answer of waiting) answer();
    expect((await Promise.all(answers)).map(({ text }) => text)).toEqual(['held', 'held']);
  });

  it('keeps to its share of the requests under load', async () => {
    slow.handler = (_, reply) => void setTimeout(() => reply.send(200, 'late'), 60);
    const count = 400;
    for (let i = 0; i < count; i += 40)
      await Promise.all(Array.from({ length: 40 }, () => ask(proxy.port(), 'GET', '/thrifty')));
    const made = seen(slow, '/thrifty').length + seen(good, '/thrifty').length - count;
    // Five in a hundred, and ten that were saved up.
    expect(made).toBeGreaterThan(10);
    expect(made).toBeLessThanOrEqual(count * 0.05 + 10);
    await eventually(async () => (await hedges('thrifty', 'over-budget')) > 100);
  });
});
