import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../../src/base/clock.ts';
import { RegistryServer } from '../../../../src/discovery/embedded/server.ts';
import { INDEX_BLOCK } from '../../../../src/discovery/embedded/store.ts';
import { type EmbeddedRegistry, startRegistry } from '../../../helpers/embedded-registry.ts';
import { eventually } from '../../../helpers/eventually.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../../../helpers/temporary-directory.ts';

describe('a registry with a data directory', () => {
  let data: TemporaryDirectory;
  const running: EmbeddedRegistry[] = [];
  const start = async () => {
    const registry = await startRegistry({ data: data.path });
    running.push(registry);
    return registry;
  };
  beforeEach(async () => {
    data = await temporaryDirectory('registry');
  });
  afterEach(async () => {
    for (const registry of running.splice(0)) await registry.close();
    await data.close();
  });

  it('keeps services, checks and their statuses over a restart', async () => {
    const first = await start();
    const body = {
      Name: 'web',
      ID: 'web-1',
      Tags: ['a'],
      Meta: { k: 'v' },
      Port: 80,
      Check: { TTL: '1m', Status: 'passing' },
    };
    await first.ask('PUT', '/v1/agent/service/register', body);
    await first.ask('PUT', '/v1/agent/service/register', { Name: 'gone' });
    await first.ask('PUT', '/v1/agent/service/deregister/gone');
    await first.ask('PUT', '/v1/agent/check/warn/service:web-1?note=slow');
    await first.ask('PUT', '/v1/catalog/register', { Node: 'ext', Address: '10.0.0.9', Service: { Service: 'db' } });
    const before = (await first.ask('GET', '/v1/health/service/web')).json;
    const services = (await first.ask('GET', '/v1/catalog/services')).json;
    await first.close();

    const second = await start();
    expect((await second.ask('GET', '/v1/health/service/web')).json).toEqual(before);
    expect(before[0].Checks[1]).toMatchObject({ Status: 'warning', Output: 'slow' });
    expect((await second.ask('GET', '/v1/catalog/services')).json).toEqual(services);
    expect(Object.keys(services)).toEqual(['db', 'web']);
    expect((await second.ask('GET', '/v1/catalog/node/ext')).json.Node.Address).toBe('10.0.0.9');
  });

  it('keeps keys and values, flags and indexes over a restart, deleted ones stay away', async () => {
    const first = await start();
    await first.ask('PUT', '/v1/kv/app/cfg?flags=18446744073709551615', 'value');
    await first.ask('PUT', '/v1/kv/app/gone', 'x');
    await first.ask('DELETE', '/v1/kv/app/gone');
    const before = await first.ask('GET', '/v1/kv/app?recurse');
    expect(before.text).toContain('"Flags":18446744073709551615');
    await first.close();
    const second = await start();
    const after = await second.ask('GET', '/v1/kv/app?recurse');
    expect(after.text).toBe(before.text);
    expect(after.index).toBeGreaterThanOrEqual(before.index);
    const [{ ModifyIndex }] = before.json;
    expect((await second.ask('PUT', `/v1/kv/app/cfg?cas=${ModifyIndex}`, 'next')).json).toBe(true);
    expect((await second.ask('GET', '/v1/kv/app/cfg')).index).toBeGreaterThan(before.index);
  });

  it('never gives out an index twice: after a restart all are higher, removals included', async () => {
    const first = await start();
    await first.ask('PUT', '/v1/agent/service/register', { Name: 'web', ID: '1' });
    await first.ask('PUT', '/v1/agent/service/register', { Name: 'web', ID: '2' });
    await first.ask('PUT', '/v1/agent/service/deregister/2');
    const before = await first.ask('GET', '/v1/health/service/web');
    await first.close();
    const second = await start();
    const after = await second.ask('GET', '/v1/health/service/web');
    expect(after.index).toBeGreaterThan(before.index);
    expect(after.index).toBeLessThanOrEqual(before.index + INDEX_BLOCK);
    expect((await second.ask('GET', '/v1/health/service/nope')).index).toBeGreaterThan(before.index);
    // A watcher of before hears of it at once.
    const began = performance.now();
    await second.ask('GET', `/v1/health/service/web?index=${before.index}&wait=30s`);
    expect(performance.now() - began).toBeLessThan(1000);
  });

  it('gives a TTL that survived a restart its whole time again', async () => {
    const first = await start();
    await first.ask('PUT', '/v1/agent/service/register', { Name: 'web', Check: { TTL: '1s', Status: 'passing' } });
    await first.close();
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const second = await start();
    const began = performance.now();
    expect((await second.ask('GET', '/v1/health/service/web?passing')).json).toHaveLength(1);
    await eventually(async () => (await second.ask('GET', '/v1/health/service/web?passing')).json.length === 0);
    expect(performance.now() - began).toBeGreaterThan(900);
  });

  it('has a registration on disk before it is answered', async () => {
    const registry = await start();
    await registry.ask('PUT', '/v1/agent/service/register', { Name: 'web' });
    const wal = (await readdir(data.path)).filter((name) => name.startsWith('registry.db'));
    // Read as after a crash: the file and its log, copied while the registry still runs.
    const copy = await temporaryDirectory('crashed');
    const { copyFile } = await import('node:fs/promises');
    for (const name of wal) if (!name.endsWith('-shm')) await copyFile(join(data.path, name), join(copy.path, name));
    const crashed = await startRegistry({ data: copy.path });
    expect((await crashed.ask('GET', '/v1/catalog/services')).json).toEqual({ web: [] });
    await crashed.close();
    await copy.close();
  });

  it('moves a damaged file aside, says so and starts empty with a higher index', async () => {
    const first = await start();
    await first.ask('PUT', '/v1/agent/service/register', { Name: 'web' });
    const { index } = await first.ask('GET', '/v1/health/service/web');
    await first.close();
    await writeFile(join(data.path, 'registry.db'), 'this was a database once\n'.repeat(500));
    const second = await start();
    expect((await second.ask('GET', '/v1/catalog/services')).json).toEqual({});
    expect((await second.ask('GET', '/v1/catalog/services')).index).toBeGreaterThan(index);
    expect(second.log.join()).toMatch(/^warn .*registry\.db cannot be used \(.*\); it was moved to .*unusable-/);
    expect((await readdir(data.path)).some((name) => name.startsWith('registry.db.unusable-'))).toBe(true);
    await second.ask('PUT', '/v1/agent/service/register', { Name: 'again' });
    await second.close();
    const third = await start();
    expect((await third.ask('GET', '/v1/catalog/services')).json).toEqual({ again: [] });
  });

  it('does the same with a file of a later version', async () => {
    const file = new DatabaseSync(join(data.path, 'registry.db'));
    file.exec('PRAGMA user_version = 99');
    file.close();
    const registry = await start();
    expect(registry.log.join()).toContain('written by a later version (its schema is 99)');
    expect((await registry.ask('PUT', '/v1/agent/service/register', { Name: 'web' })).status).toBe(200);
  });

  it('leaves out a record that cannot be read and keeps the others', async () => {
    const first = await start();
    await first.ask('PUT', '/v1/agent/service/register', { Name: 'web', Check: { TTL: '1m' } });
    await first.ask('PUT', '/v1/agent/service/register', { Name: 'db' });
    await first.close();
    const file = new DatabaseSync(join(data.path, 'registry.db'));
    file.exec("UPDATE record SET json = '{oops' WHERE kind = 'service' AND key LIKE '%web%'");
    file.close();
    const second = await start();
    expect(Object.keys((await second.ask('GET', '/v1/catalog/services')).json)).toEqual(['db']);
    expect(second.log.join()).toContain('web');
  });

  it('runs from memory beside another process that has the file, and leaves it alone', async () => {
    const first = await start();
    await first.ask('PUT', '/v1/agent/service/register', { Name: 'web' });
    const second = await start();
    expect(second.log.join()).toMatch(
      /^error registry keeps its services in memory only: .* is in use by another process/,
    );
    expect((await second.ask('PUT', '/v1/agent/service/register', { Name: 'mine' })).status).toBe(200);
    expect((await first.ask('GET', '/v1/catalog/services')).json).toEqual({ web: [] });
  });

  it('runs from memory when the directory cannot be made', async () => {
    await data.write('file', '');
    const registry = await startRegistry({ data: join(data.path, 'file', 'below') });
    running.push(registry);
    expect(registry.log.join()).toMatch(/^error registry keeps its services in memory only/);
    expect((await registry.ask('PUT', '/v1/agent/service/register', { Name: 'web' })).status).toBe(200);
  });

  it('refuses a busy port with an OperationError and lets go of the file', async () => {
    const first = await startRegistry();
    running.push(first);
    const bind = first.address.slice('http://'.length);
    const server = new RegistryServer({ bind, data: data.path }, { clock: systemClock, random: Math.random, log() {} });
    await expect(server.start()).rejects.toMatchObject({ name: 'OperationError', code: 'EADDRINUSE' });
    const next = await start();
    expect(next.log.join()).not.toContain('in use');
  });
});
