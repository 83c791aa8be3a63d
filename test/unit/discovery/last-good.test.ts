import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock, systemClock } from '../../../src/base/clock.ts';
import { type LastGoodOptions, LastGoodStore } from '../../../src/discovery/last-good.ts';
import { eventually } from '../../helpers/eventually.ts';
import { registryEndpoint } from '../../helpers/registry-endpoint.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../../helpers/temporary-directory.ts';

const web = { name: 'web', tags: [] };
const HOUR = 3_600_000;

describe('LastGoodStore', () => {
  let directory: TemporaryDirectory;
  let log: string[];
  let wall: number;
  const stores: LastGoodStore[] = [];

  beforeEach(async () => {
    directory = await temporaryDirectory('last-good');
    log = [];
    wall = 1_700_000_000_000;
  });
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()));
    await directory.close();
  });

  function store(more: Partial<LastGoodOptions> = {}): LastGoodStore {
    const made = new LastGoodStore({
      directory: join(directory.path, 'sets'),
      clock: systemClock,
      wallClock: () => wall,
      log: (level, message, fields) => void log.push(`${level} ${message} ${JSON.stringify(fields)}`),
      ...more,
    });
    stores.push(made);
    return made;
  }

  async function saved(): Promise<string> {
    const folder = join(directory.path, 'sets');
    const names = (await readdir(folder)).filter((name) => name.endsWith('.json'));
    expect(names).toHaveLength(1);
    return join(folder, names[0]);
  }

  it('gives the next process what was saved, with its age', async () => {
    const endpoints = [registryEndpoint(1, { tags: ['a'], metadata: { k: 'v' }, weight: 2.5, status: 'warning' })];
    const first = store();
    first.save('consul', web, endpoints);
    await first.close();
    wall += HOUR;
    expect(store().load('consul', web)).toEqual({ endpoints, ageMs: HOUR });
    expect(log).toEqual([]);
  });

  it('keeps services, tags, datacenters and registries apart', async () => {
    const first = store();
    const refs = [
      web,
      { name: 'web', tags: ['a'] },
      { name: 'web', tags: [], datacenter: 'x' },
      { name: '../w/eb', tags: [] },
    ];
    refs.forEach((ref, i) => {
      first.save('consul', ref, [registryEndpoint(10 + i)]);
    });
    first.save('other', web, [registryEndpoint(20)]);
    await first.close();
    const next = store();
    refs.forEach((ref, i) => {
      expect(next.load('consul', ref)?.endpoints).toEqual([registryEndpoint(10 + i)]);
    });
    expect(next.load('other', web)?.endpoints).toEqual([registryEndpoint(20)]);
    expect(next.load('third', web)).toBeNull();
    expect(await readdir(directory.path)).toEqual(['sets']);
  });

  it('writes the first set at once, then at most once in five seconds, and the last one on close', async () => {
    const first = store();
    first.save('consul', web, [registryEndpoint(1)]);
    const file = await eventually(saved);
    const { mtimeMs } = await stat(file);
    for (let port = 2; port < 50; port++) first.save('consul', web, [registryEndpoint(port)]);
    expect((await stat(file)).mtimeMs).toBe(mtimeMs);
    expect(JSON.parse(await readFile(file, 'utf8')).endpoints[0].port).toBe(1);
    await first.close();
    expect(JSON.parse(await readFile(file, 'utf8')).endpoints[0].port).toBe(49);
  });

  it('writes an unchanged set only to renew its date', async () => {
    const clock = new ManualClock();
    const first = store({ clock });
    const set = [registryEndpoint(1)];
    first.save('consul', web, set);
    const file = await eventually(saved);
    const savedAt = async () => JSON.parse(await readFile(file, 'utf8')).savedAt as number;
    const at = wall;
    wall += 10_000;
    clock.advance(10_000);
    first.save('consul', web, [registryEndpoint(1)]);
    await first.close();
    expect(await savedAt()).toBe(at);
    const second = store({ clock });
    second.save('consul', web, set);
    await eventually(async () => (await savedAt()) === wall);
    wall += 2 * HOUR;
    clock.advance(2 * HOUR);
    second.save('consul', web, set);
    await eventually(async () => (await savedAt()) === wall);
  });

  it('remembers that a service is empty', async () => {
    const first = store();
    first.save('consul', web, [registryEndpoint(1)]);
    first.save('consul', web, []);
    await first.close();
    expect(store().load('consul', web)?.endpoints).toEqual([]);
  });

  it.each([
    ['is not JSON', '{"format":1,'],
    ['does not hold a set', '{"format":1,"savedAt":1}'],
    ['does not hold a set', 'null'],
    ['newer than ours', '{"format":2,"sets":{}}'],
  ])('refuses a file that %s, and says so', async (reason, content) => {
    const first = store();
    first.save('consul', web, [registryEndpoint(1)]);
    await first.close();
    await writeFile(await saved(), content);
    expect(store().load('consul', web)).toBeNull();
    expect(log).toHaveLength(1);
    expect(log[0]).toContain('saved endpoints are not used');
    expect(log[0]).toContain(reason);
  });

  it('refuses a set that is older than a day', async () => {
    const first = store();
    first.save('consul', web, [registryEndpoint(1)]);
    await first.close();
    wall += 25 * HOUR;
    expect(store().load('consul', web)).toBeNull();
    expect(log[0]).toContain('25 hours old');
  });

  it('leaves bad endpoints of a file out', async () => {
    const first = store();
    first.save('consul', web, [registryEndpoint(1), registryEndpoint(2, { host: '169.254.169.254' })]);
    await first.close();
    expect(store().load('consul', web)?.endpoints).toEqual([registryEndpoint(1)]);
  });

  it('says once that the disk fails, runs on, and writes when it works again', async () => {
    // A file where the directory should be fails whoever runs the test.
    const path = join(directory.path, 'sets');
    await writeFile(path, '');
    const first = store({ writeEveryMs: 1 });
    first.save('consul', web, [registryEndpoint(1)]);
    await eventually(() => log.length === 1);
    first.save('consul', web, [registryEndpoint(2)]);
    first.save('other', web, [registryEndpoint(2)]);
    await rm(path);
    // The store may have made it already: a write was due.
    await mkdir(path, { recursive: true });
    await eventually(async () => {
      first.save('consul', web, [registryEndpoint(3)]);
      return (await readdir(path)).some((name) => name.startsWith('consul-') && name.endsWith('.json'));
    });
    await first.close();
    expect(store().load('consul', web)?.endpoints).toEqual([registryEndpoint(3)]);
    expect(log.filter((line) => line.includes('cannot be saved'))).toHaveLength(1);
    expect((await readdir(path)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });
});
