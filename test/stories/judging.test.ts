import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask } from '../helpers/raw-client.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../helpers/temporary-directory.ts';

const $ = '$';

describe('a document that is sent to be judged', () => {
  let origin: Origin;
  let place: TemporaryDirectory;
  let proxy: RunningProxy;
  let registry: Server;
  /** What reached the registry that a document named. */
  const asked: string[] = [];
  let secret: string;

  beforeAll(async () => {
    [origin, place] = await Promise.all([startOrigin({ name: 'a' }), temporaryDirectory('judging')]);
    registry = createServer((request, response) => {
      asked.push(`${request.url} ${JSON.stringify(request.headers)}`);
      response.end(JSON.stringify({ services: { x: [{ address: origin.address }] } }));
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => registry.once('listening', resolve));
    secret = await place.write('secret', 'hunter2\n');
    const env = { DB_PASSWORD: 'hunter2', OTHER: 'hunter2', OWN_TOKEN: 'hunter2-own-token', NAMED: 'named' };
    proxy = await startProxy(running(), { env });
    await ask(proxy.port(), 'GET', '/');
  });
  afterAll(async () => {
    await proxy?.stop();
    await origin?.close();
    registry?.close();
    await place?.close();
  });

  const pool = (more: object = {}) => ({ endpoints: [{ address: origin.address }], ...more });
  const running = () => ({
    log: { sample: 1 },
    registries: { own: { kind: 'http', url: `http://127.0.0.1:1/${$}{NAMED}`, token: `${$}{OWN_TOKEN}` } },
    listeners: [{ name: 'shop', bind: '127.0.0.1:0', pool: 'web' }],
    pools: { web: pool(), found: { discover: { registry: 'own', service: 'x' } } },
    runtime: { startTimeout: '50ms' },
  });
  const base = () => ({
    ...running(),
    runtime: { workers: 1, drain: '1s', state: './state', startTimeout: '50ms' },
    admin: { bind: '127.0.0.1:0' },
    log: { access: 'off', sample: 1 },
  });
  const check = async (document: object) => {
    const judged = await proxy.api('/api/v1/config/check', {
      method: 'POST',
      body: { document: JSON.stringify(document) },
    });
    expect(JSON.stringify(judged)).not.toContain('hunter2');
    return judged;
  };

  it('is compared with what runs, references with references, and sampled requests are sent through it', async () => {
    // A worker tells what it sampled once per tick.
    await eventually(async () => (await check(base())).replay.sampled === 1);
    expect(await check(base())).toMatchObject({ problems: [], unjudged: [], changes: [], replay: { sampled: 1 } });
    const routes = [{ name: 'all', pool: 'other' }];
    const next = {
      ...base(),
      listeners: [{ name: 'shop', bind: '127.0.0.1:0', routes }],
      pools: { ...base().pools, other: pool() },
    };
    const judged = await check(next);
    expect(judged).toMatchObject({
      problems: [],
      unjudged: [],
      replay: { moved: [{ to: 'all → other', requests: 1 }] },
    });
    expect(judged.changes).toContain('+ pool other');
  });

  it('tells no variable that the admin API does not show, wherever it is put', async () => {
    const places = (name: string) => [
      { runtime: { drain: `${$}{${name}}` } },
      { log: { access: 'off', level: `${$}{${name}}` } },
      { admin: { bind: `${$}{${name}}` } },
      { pools: { ...base().pools, web: pool({ probe: { kind: 'http', path: `/${$}{${name}}` } }) } },
      { listeners: [{ name: `${$}{${name}}`, bind: '127.0.0.1:0', pool: `${$}{${name}}` }] },
      { listeners: [{ name: 'shop', bind: `127.0.0.1:${$}{${name}}`, pool: 'web' }] },
    ];
    for (const name of ['DB_PASSWORD', 'OTHER', 'OWN_TOKEN'])
      for (const part of places(name)) await check({ ...base(), ...part });
    const shown = await check({
      ...base(),
      pools: { ...base().pools, web: pool({ probe: { kind: 'http', path: `/${$}{NAMED}` } }) },
    });
    expect(shown.changes.join()).toContain('/named');
    const unknown = await check({ ...base(), runtime: { drain: `${$}{OTHER}`, workers: 0 } });
    expect(unknown.problems.join()).toMatch(/^the document:1:\d+ {2}runtime.workers {2}found 0; write at least 1$/);
    expect(unknown.unjudged).toEqual([
      expect.stringMatching(/runtime.drain {2}its value is not read to judge a document$/),
    ]);
  });

  it('opens no file, and sends nothing to registries that would be told of one', async () => {
    const url = `http://127.0.0.1:${(registry.address() as AddressInfo).port}/`;
    const discovering = (settings: object) => ({
      ...base(),
      registries: { ...base().registries, away: settings },
      pools: { ...base().pools, away: { discover: { registry: 'away', service: 'x' } } },
    });
    const pipe = `${place.path}/pipe`;
    execFileSync('mkfifo', [pipe]);
    for (const token of [`file:${secret}`, `file:${pipe}`, 'file:/dev/zero', `${$}{OWN_TOKEN}`, `${$}{DB_PASSWORD}`]) {
      const judged = await check(discovering({ kind: 'http', url, token }));
      expect(judged).toMatchObject({
        problems: [],
        unjudged: [expect.stringMatching(/what pool away would hold: away is not asked/)],
      });
    }
    await check(discovering({ kind: 'kubernetes', server: url, serviceAccount: place.path }));
    await check(discovering({ kind: 'file', path: secret }));
    await check(discovering({ kind: 'http', url, tls: { ca: pipe } }));
    const tls = { certificates: [{ cert: secret, key: pipe }] };
    await check({ ...base(), listeners: [{ name: 'shop', bind: '127.0.0.1:0', pool: 'web', tls }] });
    await check({ ...base(), pools: { ...base().pools, web: pool({ tls: { ca: pipe } }) } });
    expect(asked).toEqual([]);
    // One that tells nothing but what stands in the document itself is asked.
    expect(await check(discovering({ kind: 'http', url, token: 'mine' }))).toMatchObject({
      problems: [],
      unjudged: [],
    });
    expect(asked.join()).toContain('Bearer mine');
  });

  it('leaves no file behind', async () => {
    const log = `${place.path}/made.log`;
    const judged = await check({ ...base(), log: { access: log, sample: 1 } });
    expect(judged.unjudged).toEqual([`log.access: ${log} is not opened to judge a document`]);
    expect(existsSync(log)).toBe(false);
  });

  it('is refused where an address is taken, as a reload would be', async () => {
    const bind = `127.0.0.1:${origin.port}`;
    const judged = await check({ ...base(), listeners: [{ name: 'shop', bind, pool: 'web' }] });
    expect(judged).toMatchObject({ problems: [expect.stringMatching(/in use/)], changes: [], replay: null });
  });
});
