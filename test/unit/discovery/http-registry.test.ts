import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { registries } from '../../../src/discovery/catalog.ts';
import type { Registry } from '../../../src/discovery/registry.ts';
import { eventually } from '../../helpers/eventually.ts';
import { RecordingSink } from '../../helpers/recording-sink.ts';

describe('the http registry', () => {
  let address: string;
  let handle: (request: IncomingMessage, response: ServerResponse) => void;
  const requests: IncomingMessage[] = [];
  const log: string[] = [];
  const stack: (() => Promise<void>)[] = [];

  beforeEach(async () => {
    const server = createServer((request, response) => {
      requests.push(request);
      handle(request, response);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    stack.push(async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    });
  });
  afterEach(async () => {
    for (const close of stack.splice(0).reverse()) await close();
    requests.length = 0;
    log.length = 0;
  });

  function make(settings: object = {}): Registry {
    const parsed = registries
      .schema()
      .parse({ kind: 'http', url: `${address}/all`, interval: '100ms', timeout: '1s', ...settings });
    const context = {
      name: 'http',
      clock: systemClock,
      random: systemRandom,
      log: (_level: string, message: string) => void log.push(message),
    };
    const registry = registries.create(parsed, context);
    stack.push(() => registry.close());
    return registry;
  }

  async function told(settings: object = {}, ...services: string[]): Promise<RecordingSink[]> {
    const registry = make(settings);
    const sinks = services.map((name) => {
      const sink = new RecordingSink();
      registry.subscribe({ name, tags: [] }, sink);
      return sink;
    });
    await registry.start();
    await eventually(() => sinks.every(({ sets, errors }) => sets.length + errors.length > 0));
    return sinks;
  }

  const services = (web: readonly number[]) => ({
    services: { web: web.map((port) => ({ address: `127.0.0.1:${port}` })) },
  });
  const ports = (sink: RecordingSink) => sink.last?.endpoints.map(({ port }) => port);

  it('asks with the ETag of the last answer, and takes 304 for "still true"', async () => {
    let answers = 0;
    let tag = '"1"';
    handle = (request, response) => {
      if (request.headers['if-none-match'] === tag) return void response.writeHead(304).end();
      answers++;
      response.writeHead(200, { etag: tag }).end(JSON.stringify(services([Number(tag.slice(1, -1))])));
    };
    const [sink] = await told({ token: 't0ken' }, 'web');
    await eventually(() => sink.sets.length >= 4);
    expect(answers).toBe(1);
    expect(new Set(sink.sets.map(({ endpoints }) => endpoints)).size).toBe(1);
    expect(requests[0].headers.authorization).toBe('Bearer t0ken');
    tag = '"2"';
    await eventually(() => expect(ports(sink)).toEqual([2]));
  });

  it('asks one address for all services, or each with its name in it', async () => {
    handle = (request, response) => {
      if (request.url === '/all') response.end(JSON.stringify(services([1])));
      else if (request.url === '/of/a%2Fb') response.end('- { address: "127.0.0.1:7" }');
      else response.end(JSON.stringify({ services: { c: [{ address: '127.0.0.1:8' }] } }));
    };
    const [web, other] = await told({}, 'web', 'other');
    expect([ports(web), ports(other)]).toEqual([[1], []]);
    const asked = requests.length;
    expect(asked).toBe(1);
    const [ab, c] = await told({ url: `${address}/of/{service}` }, 'a/b', 'c');
    expect([ports(ab), ports(c)]).toEqual([[7], [8]]);
    const [list] = await told({ url: `${address}/of/a%2Fb` }, 'web');
    expect(list.errors[0].message).toContain('without saying of which service');
  });

  it('leaves out records that cannot be read, and no others', async () => {
    const records = [
      { address: '127.0.0.1:1', rack: 5 },
      { address: 'x' },
      'y',
      { address: '127.0.0.1:2', weight: -1 },
      { address: '127.0.0.1:3', status: 'down' },
    ];
    handle = (_request, response) => void response.end(JSON.stringify({ services: { web: records }, more: true }));
    const [sink] = await told({}, 'web');
    expect(sink.told).toEqual(['1 up 1', '3 down 1']);
    expect(log).toEqual(['records of the registry left out']);
  });

  it.each([
    ['an error', 'registry-error', 'does not tell (500: ', (response) => response.writeHead(500).end('oops')],
    ['a missing page', 'registry-error', '(404: ', (response) => response.writeHead(404).end()],
    ['a redirect', 'registry-error', '(302: ', (response) => response.writeHead(302, { location: '/all' }).end()],
    ['a refusal', 'registry-denied', 'does not let us in (403: ', (response) => response.writeHead(403).end()],
    ['no services', 'registry-unreadable', 'holds neither services', (response) => response.end('{"web":[]}')],
    ['no JSON', 'registry-unreadable', '/all:1:', (response) => response.end('{"services":{')],
    ['too much', 'registry-error', 'answers more than 2000 bytes', (response) => response.end(' '.repeat(2001))],
    ['silence', 'registry-timeout', 'does not answer within 1000 ms', () => {}],
    [
      'half an answer',
      'registry-unreachable',
      'cannot be reached',
      (response) => response.writeHead(200, { 'content-length': 99 }).end('{', () => response.destroy()),
    ],
  ] as [string, string, string, (response: ServerResponse) => void][])(
    'keeps what it knows through %s',
    async (_what, code, message, fault) => {
      let isFaulty = false;
      handle = (_request, response) =>
        isFaulty ? fault(response) : void response.end(JSON.stringify(services([1, 2])));
      const [sink] = await told({ maxSize: 2000 }, 'web');
      isFaulty = true;
      await eventually(() => sink.errors.length > 0);
      expect(sink.errors[0]).toMatchObject({ code, message: expect.stringContaining(message) });
      expect(ports(sink)).toEqual([1, 2]);
      isFaulty = false;
      const sets = sink.sets.length;
      await eventually(() => sink.sets.length > sets);
      expect(sink.sets[sets].suspicion).toBe('after-reconnect');
      expect(sink.errors).toHaveLength(1);
    },
  );
});
