import { execFile, spawn } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as later } from 'node:timers/promises';
import { promisify } from 'node:util';
import Consul from 'consul';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { askRegistry, type RegistryReply, startRegistry } from '../helpers/embedded-registry.ts';
import { eventually } from '../helpers/eventually.ts';
import { stopwatch } from '../helpers/processor-wait.ts';
import { requireServer } from '../helpers/require-server.ts';
import { findConsul, startConsul } from './consul.ts';
import { compare } from './registry-comparison.ts';
import { session } from './registry-session.ts';

const binary = findConsul();
const withoutConsul = requireServer('consul', binary);
const run = promisify(execFile);

interface Target {
  readonly address: string;
  close(): Promise<void>;
}

const targets = [
  { name: 'embedded', skip: false, start: (): Promise<Target> => startRegistry() },
  {
    name: 'consul',
    skip: withoutConsul,
    start: async (): Promise<Target> => {
      const consul = await startConsul();
      return { address: consul.address, close: () => consul.stop() };
    },
  },
] as const;

describe.skipIf(withoutConsul)('the embedded registry beside Consul', () => {
  let embedded: Target;
  let consul: Target;
  beforeAll(async () => {
    [embedded, consul] = await Promise.all(targets.map((target) => target.start()));
  });
  afterAll(() => Promise.all([embedded?.close(), consul?.close()]));

  it('answers a session of requests as Consul 1.8.7 does, but for the listed deviations', async () => {
    const differences: string[] = [];
    for (const step of session) {
      const difference = await compare(step, embedded.address, consul.address);
      if (difference !== null) differences.push(`${step.request} ${JSON.stringify(step.body ?? '')}\n${difference}`);
    }
    expect(differences.join('\n\n')).toBe('');
  });

  it('prints pretty answers byte for byte alike', async () => {
    const path = '/v1/catalog/datacenters?pretty';
    const [ours, theirs] = await Promise.all([embedded, consul].map((one) => askRegistry(one.address, 'GET', path)));
    expect(ours.text).toBe(theirs.text);
  });
});

describe.each(targets)('the registry as $name', ({ skip, start }) => {
  describe.skipIf(skip).concurrent('API', () => {
    let target: Target;
    const ask = (method: string, path: string, body?: unknown) => askRegistry(target.address, method, path, body);
    const register = (body: object) => ask('PUT', '/v1/agent/service/register', body);
    const health = (name: string, query = '') => ask('GET', `/v1/health/service/${name}${query}`);
    const statuses = async (name: string) => {
      const checks: { CheckID: string; Status: string; Output: string }[] = (
        await ask('GET', `/v1/health/checks/${name}`)
      ).json;
      return Object.fromEntries(checks.map((check) => [check.CheckID, check]));
    };
    /** The index once a registration has reached the catalog and nothing of it is still under way. */
    const settled = async (name: string, instances: number) => {
      await eventually(async () => (await health(name)).json.length === instances);
      const checks = (await ask('GET', '/v1/agent/checks')).json as Record<
        string,
        { ServiceName: string; Status: string }
      >;
      await eventually(async () => {
        const known = await statuses(name);
        return Object.entries(checks).every(
          ([id, one]) => one.ServiceName !== name || known[id]?.Status === one.Status,
        );
      });
      return (await health(name)).index;
    };

    beforeAll(async () => {
      target = await start();
    });
    afterAll(() => target?.close());

    it('holds a query while nothing changes, for wait and at most a sixteenth more', async () => {
      await register({ Name: 'still' });
      const index = await settled('still', 1);
      const [began, ownMs] = [performance.now(), stopwatch()];
      const reply = await health('still', `?index=${index}&wait=800ms`);
      const [took, own] = [performance.now() - began, ownMs()];
      expect(reply.index).toBe(index);
      expect(took).toBeGreaterThanOrEqual(795);
      expect(own).toBeLessThan(1100);
    });

    it('wakes a query by a change of its service and not by one of another', async () => {
      await register({ Name: 'mine', Check: { TTL: '1m', Status: 'passing' } });
      const index = await settled('mine', 1);
      const waiting = health('mine', `?index=${index}&wait=20s`);
      await register({ Name: 'others' });
      await settled('others', 1);
      expect(await Promise.race([waiting, later(200, 'still waiting')])).toBe('still waiting');
      await ask('PUT', '/v1/agent/check/fail/service:mine');
      const reply = (await waiting) as RegistryReply;
      expect(reply.index).toBeGreaterThan(index);
      expect(reply.json[0].Checks.map((check: { Status: string }) => check.Status)).toContain('critical');
    });

    it('wakes a query when the last instance leaves, with an empty answer and a higher index', async () => {
      await register({ Name: 'leaving' });
      const index = await settled('leaving', 1);
      const waiting = health('leaving', `?index=${index}&wait=20s`);
      await ask('PUT', '/v1/agent/service/deregister/leaving');
      const reply = await waiting;
      expect(reply.json).toEqual([]);
      expect(reply.index).toBeGreaterThan(index);
    });

    it('answers a query with an index from the future within its wait', async () => {
      await register({ Name: 'future' });
      const index = await settled('future', 1);
      const reply = await health('future', `?index=${index + 100_000}&wait=1s`);
      expect(reply.index).toBeLessThan(index + 100_000);
      expect(reply.json).toHaveLength(1);
    });

    it('keeps the index over an identical registration and the same status, and raises it for a new tag', async () => {
      const body = { Name: 'same', Tags: ['a'], Check: { TTL: '1m', Status: 'passing' } };
      await register(body);
      const index = await settled('same', 1);
      await register(body);
      await ask('PUT', '/v1/agent/check/pass/service:same');
      await later(100);
      expect((await health('same')).index).toBe(index);
      await register({ ...body, Tags: ['b'] });
      await eventually(async () => (await health('same')).json[0].Service.Tags[0] === 'b');
      expect((await health('same')).index).toBeGreaterThan(index);
    });

    it('lets watchers of the list of services know of new ones, not of statuses', async () => {
      await register({ Name: 'listed', Check: { TTL: '1m', Status: 'passing' } });
      await settled('listed', 1);
      // Other tests register at the same time: the list is asked for until it holds what this one adds.
      let { index } = await ask('GET', '/v1/catalog/services');
      await register({ Name: 'listed-too' });
      await eventually(async () => {
        const reply = await ask('GET', `/v1/catalog/services?index=${index}&wait=2s`);
        index = reply.index;
        return 'listed-too' in reply.json;
      });
    });

    it('turns a check critical when its TTL runs out, and back with the next heartbeat', async () => {
      await register({ Name: 'ttl', Check: { TTL: '2s', Status: 'passing' } });
      await ask('PUT', '/v1/agent/check/pass/service:ttl?note=fine');
      await eventually(async () => (await statuses('ttl'))['service:ttl']?.Status === 'passing');
      const index = await settled('ttl', 1);
      // By the change, not by the end of the wait.
      expect((await health('ttl', `?index=${index}&wait=10s`)).index).toBeGreaterThan(index);
      expect((await statuses('ttl'))['service:ttl']).toMatchObject({
        Status: 'critical',
        Output: 'TTL expired (last output before timeout follows): fine',
      });
      expect((await health('ttl', '?passing')).json).toEqual([]);
      await ask('PUT', '/v1/agent/check/pass/service:ttl');
      await eventually(async () => (await health('ttl', '?passing')).json.length === 1);
    });

    it('runs HTTP and TCP checks: 2xx passes, 429 warns, the rest and no connection are critical', async () => {
      let status = 200;
      const seen: string[] = [];
      const server = await listening((request) => {
        seen.push(`${request.method} ${request.headers['user-agent']} ${request.headers['x-a']}`);
        return status;
      });
      const { port } = server.address() as AddressInfo;
      const http = { HTTP: `http://127.0.0.1:${port}/health`, Interval: '1s', Header: { 'x-a': ['b'] } };
      const Checks = [http, { TCP: `127.0.0.1:${port}`, Interval: '1s' }];
      await register({ Name: 'probed', Checks });
      const outputs: string[] = [];
      for (const [code, word] of [
        [200, 'passing'],
        [429, 'warning'],
        [503, 'critical'],
      ] as const) {
        status = code;
        await eventually(async () => (await statuses('probed'))['service:probed:1']?.Status === word);
        outputs.push((await ask('GET', '/v1/agent/checks')).json['service:probed:1'].Output);
      }
      expect(outputs).toEqual([
        `HTTP GET http://127.0.0.1:${port}/health: 200 OK Output: body 200`,
        `HTTP GET http://127.0.0.1:${port}/health: 429 Too Many Requests Output: body 429`,
        `HTTP GET http://127.0.0.1:${port}/health: 503 Service Unavailable Output: body 503`,
      ]);
      expect(seen).toContain('GET Consul Health Check b');
      const tcp = async () => (await ask('GET', '/v1/agent/checks')).json['service:probed:2'];
      expect(await tcp()).toMatchObject({ Status: 'passing', Output: `TCP connect 127.0.0.1:${port}: Success` });
      server.close();
      await eventually(async () => (await tcp()).Status === 'critical');
      expect((await tcp()).Output).toBe(`dial tcp 127.0.0.1:${port}: connect: connection refused`);
      await ask('PUT', '/v1/agent/service/deregister/probed');
    });

    it('wakes a query for a key by its change and deletion, not by another key', async () => {
      await ask('PUT', '/v1/kv/waited/mine', 'v1');
      const { index } = await ask('GET', '/v1/kv/waited/mine');
      const changed = ask('GET', `/v1/kv/waited/mine?index=${index}&wait=20s`);
      await ask('PUT', '/v1/kv/waited/mine', 'v1');
      await ask('PUT', '/v1/kv/waited/other', 'x');
      expect(await Promise.race([changed, later(200, 'still waiting')])).toBe('still waiting');
      await ask('PUT', '/v1/kv/waited/mine', 'v2');
      const reply = (await changed) as RegistryReply;
      expect(Buffer.from(reply.json[0].Value, 'base64').toString()).toBe('v2');
      expect(reply.index).toBeGreaterThan(index);
      const deleted = ask('GET', `/v1/kv/waited/mine?index=${reply.index}&wait=20s`);
      await ask('DELETE', '/v1/kv/waited/mine');
      expect(await deleted).toMatchObject({ status: 404, text: '' });
    });

    it('wakes a query for a missing key when it comes, and one for a prefix when a key under it goes', async () => {
      await ask('PUT', '/v1/kv/tree/a', '1');
      await ask('PUT', '/v1/kv/tree/b', '2');
      const missing = await ask('GET', '/v1/kv/tree/c');
      expect(missing.status).toBe(404);
      const coming = ask('GET', `/v1/kv/tree/c?index=${missing.index}&wait=20s`);
      await ask('PUT', '/v1/kv/tree/c', '3');
      await eventually(async () => (await coming).status === 200 || (await ask('GET', '/v1/kv/tree/c')).status === 200);
      const { index } = await ask('GET', '/v1/kv/tree?recurse');
      const going = ask('GET', `/v1/kv/tree?keys&index=${index}&wait=20s`);
      await ask('DELETE', '/v1/kv/tree/b');
      const reply = await going;
      expect(reply.json).toEqual(['tree/a', 'tree/c']);
      expect(reply.index).toBeGreaterThan(index);
    });

    it('lets one of many writers with the same index through', async () => {
      await ask('PUT', '/v1/kv/raced', 'start');
      const [{ ModifyIndex }] = (await ask('GET', '/v1/kv/raced')).json;
      const writers = Array.from({ length: 8 }, (_, i) => ask('PUT', `/v1/kv/raced?cas=${ModifyIndex}`, `writer ${i}`));
      const won = (await Promise.all(writers)).map((reply) => reply.json);
      expect(won.filter(Boolean)).toHaveLength(1);
      expect((await ask('GET', '/v1/kv/raced?raw')).text).toBe(`writer ${won.indexOf(true)}`);
    });

    it('serves the npm client: register, list, heartbeat, watch, leave', async () => {
      const { hostname, port } = new URL(target.address);
      const client = new Consul({ host: hostname, port: Number(port) });
      const options = { name: 'npm', id: 'npm-1', address: '127.0.0.1', port: 80, tags: ['t'], meta: { weight: '3' } };
      await client.agent.service.register({ ...options, check: { ttl: '1m', status: 'passing' } } as never);
      expect(Object.keys((await client.agent.service.list()) as object)).toContain('npm-1');

      const seen: number[] = [];
      const watch = client.watch({
        method: client.health.service,
        options: { service: 'npm', passing: true } as never,
      });
      watch.on('change', (data: unknown[]) => seen.push(data.length));
      try {
        await eventually(() => seen.at(-1) === 1);
        await client.agent.service.register({ ...options, id: 'npm-2' } as never);
        await eventually(() => seen.at(-1) === 2);
        await client.agent.check.fail({ id: 'service:npm-1', note: 'oh no' } as never);
        await eventually(() => seen.at(-1) === 1);
        await client.agent.service.deregister('npm-2');
        await eventually(() => seen.at(-1) === 0);
      } finally {
        watch.end();
      }
      const node = ((await client.catalog.service.nodes('npm')) as Record<string, unknown>[])[0];
      expect(node).toMatchObject({ ServiceMeta: { weight: '3' }, ServiceAddress: '127.0.0.1', ServicePort: 80 });
      expect(await client.agent.service.deregister('npm-1')).toBeUndefined();
    });

    it.skipIf(withoutConsul)(
      'serves the consul command: register, catalog, members, watch, maint, deregister',
      async () => {
        const flag = `-http-addr=${target.address.slice('http://'.length)}`;
        const command = async (...words: string[]) => {
          const at = words[0] === 'maint' || words[0] === 'members' || words[0] === 'info' ? 1 : 2;
          return (await run(binary as string, [...words.slice(0, at), flag, ...words.slice(at)])).stdout;
        };
        expect(await command('services', 'register', '-name=cli', '-id=cli-1', '-port=1234', '-tag=a')).toContain(
          'cli',
        );
        await eventually(async () => (await command('catalog', 'services', '-tags')).match(/^cli +a$/m) !== null);
        const node = (await health('cli')).json[0].Node.Node;
        expect(await command('catalog', 'nodes', '-service=cli')).toContain(node);
        expect(await command('members')).toMatch(
          new RegExp(`^${node} +127\\.0\\.0\\.1:\\d+ +alive +server +1\\.8\\.7 `, 'm'),
        );

        const watch = spawn(binary as string, ['watch', flag, '-type=service', '-service=cli', 'cat']);
        let seen = '';
        watch.stdout.on('data', (chunk) => {
          seen += chunk;
        });
        try {
          await eventually(() => seen.includes('"cli-1"'));
          await command('services', 'register', '-name=cli', '-id=cli-2');
          await eventually(() => seen.includes('"cli-2"'));
        } finally {
          watch.kill('SIGKILL');
        }

        expect(await command('maint', '-enable', '-service=cli-1', '-reason=because')).toContain('enabled');
        await eventually(async () => (await command('maint')).includes('because'));
        expect(await command('maint', '-disable', '-service=cli-1')).toContain('disabled');
        await command('services', 'deregister', '-id=cli-1');
        await command('services', 'deregister', '-id=cli-2');
        await eventually(async () => !/^cli$/m.test(await command('catalog', 'services')));
      },
    );
  });
});

describe.each(targets)('an idle registry as $name', ({ skip, start }) => {
  describe.skipIf(skip)('API', () => {
    let target: Target;
    beforeAll(async () => {
      target = await start();
    });
    afterAll(() => target?.close());

    it('wakes a query for a service that is not there when it comes, not when others do', async () => {
      const ask = (path: string) => askRegistry(target.address, 'GET', path);
      const register = (Name: string) => askRegistry(target.address, 'PUT', '/v1/agent/service/register', { Name });
      // A fresh Consul still writes to its catalog: until the query really waits, it is asked again.
      const parked = async () => {
        for (;;) {
          const { index } = await ask('/v1/health/service/coming');
          const waiting = ask(`/v1/health/service/coming?index=${index}&wait=20s`);
          if ((await Promise.race([waiting, later(150, 'waits')])) === 'waits') return { index, waiting };
        }
      };
      const { index, waiting } = await parked();
      await register('unrelated');
      await eventually(async () => (await ask('/v1/health/service/unrelated')).json.length === 1);
      expect(await Promise.race([waiting, later(200, 'still waiting')])).toBe('still waiting');
      await register('coming');
      const reply = (await waiting) as RegistryReply;
      expect(reply.json).toHaveLength(1);
      expect(reply.index).toBeGreaterThan(index);
    });
  });
});

async function listening(status: (request: import('node:http').IncomingMessage) => number): Promise<Server> {
  const server = createServer((request, response) => {
    const code = status(request);
    response.writeHead(code, { connection: 'close' });
    response.end(`body ${code}`);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return server;
}
