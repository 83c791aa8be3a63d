import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { stopwatch } from '../helpers/processor-wait.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient } from '../helpers/raw-client.ts';
import { type HeldPort, refusingPort } from '../helpers/refusing-port.ts';

describe('a request that failed is tried again, on another endpoint, when that is safe', () => {
  let good: Origin;
  let bad: Origin;
  let dead: HeldPort;
  let proxy: RunningProxy;

  beforeAll(async () => {
    good = await startOrigin({ name: 'good' });
    bad = await startOrigin({ name: 'bad' });
    dead = await refusingPort();
    const goodAddress = { address: good.address };
    const pools = {
      // Round robin: every second request begins at the endpoint that fails.
      refused: { endpoints: [goodAddress, { address: dead.address }] },
      failing: { endpoints: [goodAddress, { address: bad.address }] },
      choosy: { endpoints: [goodAddress, { address: bad.address }], retry: { on: ['connect-failure'] } },
      slow: { endpoints: [goodAddress, { address: bad.address }], retry: { perTryTimeout: '200ms' } },
      off: { endpoints: [goodAddress, { address: bad.address }], retry: 'off' },
      layered: { endpoints: [goodAddress, { address: bad.address }] },
      later: { endpoints: [{ address: bad.address }, { address: dead.address }], retry: { attempts: 3 } },
    };
    proxy = await startProxy({
      log: { access: 'stdout' },
      listeners: Object.keys(pools).map((name, i) => ({
        name,
        bind: `127.0.0.${i + 1}:0`,
        trustForwarded: ['127.0.0.9/32'],
        pool: name,
      })),
      pools: Object.fromEntries(
        Object.entries(pools).map(([name, one]) => [
          name,
          { scheduler: 'weighted-round-robin', ejection: 'off', ...one },
        ]),
      ),
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await good.close();
    await bad.close();
    await dead.close();
  });

  beforeEach(() => {
    good.handler = async (asked, reply) => {
      await asked.ended;
      reply.send(200, `good ${asked.body}`);
    };
  });

  const HOSTS: Record<string, string> = {
    refused: '127.0.0.1',
    failing: '127.0.0.2',
    choosy: '127.0.0.3',
    slow: '127.0.0.4',
    off: '127.0.0.5',
    layered: '127.0.0.6',
    later: '127.0.0.7',
  };

  /** Twice, so that at least one begins at the endpoint that fails. */
  async function both(pool: string, method: string, body = '', target = '/') {
    const answers = [];
    for (let i = 0; i < 2; i++) {
      await using client = await rawClient(proxy.port(pool), { host: HOSTS[pool] });
      const response = await client.ask(method, target, [], body);
      answers.push(
        response.status === 200 ? response.text : `${response.status} ${response.fields.get('x-evenkeel-reason')}`,
      );
    }
    return answers.sort();
  }

  it.each(['GET', 'POST', 'DELETE', 'PATCH'])(
    'retries a refused connection on another endpoint: %s',
    async (method) => {
      expect(await both('refused', method)).toEqual(['good ', 'good ']);
    },
  );

  it.each([10, 60_000])('sends the body again after a refused connection: POST with %i bytes', async (size) => {
    const body = 'b'.repeat(size);
    expect(await both('refused', 'POST', body)).toEqual([`good ${body}`, `good ${body}`]);
  });

  it('sends a chunked body again that comes while the first attempt is made', async () => {
    for (let i = 0; i < 2; i++) {
      await using client = await rawClient(proxy.port('refused'));
      client.write('POST / HTTP/1.1\r\nhost: story\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n');
      await new Promise((resolve) => setTimeout(resolve, 30));
      client.write('3\r\ntwo\r\n0\r\n\r\n');
      expect((await client.response()).text).toBe('good onetwo');
    }
    expect(good.faults).toEqual([]);
  });

  it('counts it, and says so in the access log and to the endpoint', async () => {
    await eventually(
      async () => (await proxy.metric('evenkeel_retries_total', { pool: 'refused', reason: 'connect-failure' })) > 0,
    );
    const line = await eventually(() => proxy.accessLines().find(({ attempts }) => attempts === 2) ?? null);
    expect(line).toMatchObject({ status: 200, reason: null, endpoint: good.address });
    expect(good.requests.some(({ fields }) => fields.get('x-evenkeel-attempt') === '2')).toBe(true);
  });

  it.each(['reset', 'end'] as const)(
    'retries a GET whose connection ends before a byte of the response: %s',
    async (cut) => {
      bad.handler = (_, reply) => reply[cut]();
      expect(await both('failing', 'GET')).toEqual(['good ', 'good ']);
      expect(await both('failing', 'PUT', 'idempotent too')).toEqual(['good idempotent too', 'good idempotent too']);
    },
  );

  it('never retries a POST that may have reached its endpoint', async () => {
    bad.handler = (_, reply) => reply.reset();
    const before = bad.requests.length;
    expect(await both('failing', 'POST', 'pay')).toEqual(['502 reset', 'good pay']);
    expect(bad.requests.length).toBe(before + 1);
  });

  it('never retries once a byte of the response came', async () => {
    bad.handler = (_, reply) => reply.raw('HTTP/1.1 2').end();
    expect(await both('failing', 'GET')).toEqual(['502 reset', 'good ']);
  });

  it.each([502, 503, 504])('retries a GET that was answered %i, and not a POST', async (status) => {
    bad.handler = (_, reply) => void reply.send(status, 'of the endpoint');
    expect(await both('failing', 'GET')).toEqual(['good ', 'good ']);
    expect(await both('failing', 'POST', 'x')).toEqual([`${status} undefined`, 'good x']);
  });

  it.each([500, 501, 429])('passes %i on as it is', async (status) => {
    bad.handler = (_, reply) => void reply.send(status, 'of the endpoint');
    expect(await both('failing', 'GET')).toEqual([`${status} undefined`, 'good ']);
  });

  it('passes the last answer on when no endpoint has a better one', async () => {
    bad.handler = (_, reply) => void reply.send(503, 'bad', ['retry-after: 7']);
    good.handler = (_, reply) => void reply.send(503, 'good', ['retry-after: 7']);
    const before = good.requests.length + bad.requests.length;
    await using client = await rawClient(proxy.port('failing'), { host: HOSTS.failing });
    const { status, fields, text } = await client.ask('GET', '/');
    expect([status, fields.get('retry-after'), fields.get('x-evenkeel-reason')]).toEqual([503, '7', undefined]);
    expect(['good', 'bad']).toContain(text);
    expect(good.requests.length + bad.requests.length).toBe(before + 2);
  });

  it('retries a POST whose client says by Idempotency-Key that it may', async () => {
    bad.handler = (_, reply) => reply.reset();
    for (let i = 0; i < 2; i++) {
      await using client = await rawClient(proxy.port('failing'), { host: HOSTS.failing });
      expect((await client.ask('POST', '/', ['idempotency-key: "1"'], 'pay')).text).toBe('good pay');
    }
  });

  it('leaves retries to the evenkeel in front that is already at it, and hands its number on', async () => {
    bad.handler = (_, reply) => void reply.send(503, 'no');
    const retried = async (line: string, localAddress: string) => {
      const texts = [];
      for (let i = 0; i < 2; i++) {
        await using client = await rawClient(proxy.port('layered'), { host: HOSTS.layered, localAddress });
        texts.push((await client.ask('GET', '/layered', [line])).text);
      }
      return texts.sort();
    };
    expect(await retried('x-evenkeel-attempt: 2', '127.0.0.9')).toEqual(['good ', 'no']);
    const { fields } = bad.requests.findLast(({ target }) => target === '/layered')!;
    expect(fields.get('x-evenkeel-attempt')).toBe('2');
    // The first attempt of a layer in front is retried here; nobody without trust switches retries off.
    expect(await retried('x-evenkeel-attempt: 1', '127.0.0.9')).toEqual(['good ', 'good ']);
    expect(await retried('x-evenkeel-attempt: 2', '127.0.0.1')).toEqual(['good ', 'good ']);
  });

  it('does not ask an endpoint again that said Retry-After, and says so when nobody else is left', async () => {
    bad.handler = (_, reply) => void reply.send(503, 'no', ['retry-after: 7']);
    const before = bad.requests.length;
    const answers = [];
    for (let i = 0; i < 2; i++) {
      await using client = await rawClient(proxy.port('later'), { host: HOSTS.later });
      const { status, fields } = await client.ask('GET', '/');
      answers.push([status, fields.get('retry-after'), fields.get('x-evenkeel-reason')]);
    }
    // One began at the refusing port and was passed the only answer there is; one was told to come later by all that are left.
    expect(answers).toContainEqual([503, '7', 'limit']);
    expect(answers.every(([status, seconds]) => status === 503 && seconds === '7')).toBe(true);
    expect(bad.requests.length).toBe(before + 2);
  });

  it('backs off before it asks the same endpoint again', async () => {
    const lone = await startOrigin();
    let asked = 0;
    lone.handler = (_, reply) => (++asked === 1 ? reply.reset() : void reply.send(200, 'well'));
    await using other = await startProxy({
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'lone' }],
      pools: { lone: { endpoints: [{ address: lone.address }] } },
    });
    expect((await ask(other.port(), 'GET', '/')).text).toBe('well');
    expect(asked).toBe(2);
    await lone.close();
  });

  it('does not retry what `retry.on` does not name, nothing with `retry: off`', async () => {
    // On connections of their own: what dies on a kept one may only have been stale.
    bad.handler = (_, reply) => void reply.send(503, 'no', ['connection: close']);
    expect(await both('choosy', 'GET')).toEqual(['503 undefined', 'good ']);
    expect(await both('off', 'GET')).toEqual(['503 undefined', 'good ']);
    bad.handler = (_, reply) => reply.reset();
    expect(await both('choosy', 'GET')).toEqual(['502 reset', 'good ']);
    expect(await both('off', 'GET')).toEqual(['502 reset', 'good ']);
  });

  it('tries another endpoint after perTryTimeout, and lets a POST wait', async () => {
    bad.handler = (_, reply) => void setTimeout(() => reply.send(200, 'late'), 600);
    const sinceMs = stopwatch(proxy.pid);
    expect(await both('slow', 'GET')).toEqual(['good ', 'good ']);
    expect(sinceMs()).toBeLessThan(580);
    expect(await both('slow', 'POST', 'x')).toEqual(['good x', 'late']);
  });

  it('retries a kept connection that had died, on a new one, without counting an attempt or a failure', async () => {
    // An endpoint that resets a connection at its second request, without a byte, as one does that closed it a moment before.
    const lone = await startOrigin();
    lone.handler = (asked, reply) => (asked.onConnection === 0 ? void reply.send(200, 'fresh') : reply.reset());
    await using other = await startProxy({
      log: { access: 'stdout' },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'lone' }],
      pools: { lone: { endpoints: [{ address: lone.address }], retry: 'off' } },
    });
    for (let i = 0; i < 6; i++) expect((await ask(other.port(), 'GET', '/')).text).toBe('fresh');
    await eventually(async () => (await other.metric('evenkeel_retries_total', { reason: 'stale-connection' })) >= 3);
    const { failures, down } = await other.endpoint('lone', lone.address);
    expect([failures, down]).toEqual([0, []]);
    await lone.close();
  });
});
