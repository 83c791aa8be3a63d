import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, it } from 'vitest';
import { Store } from '../../../../src/discovery/embedded/store.ts';
import { eventually } from '../../../helpers/eventually.ts';
import { temporaryDirectory } from '../../../helpers/temporary-directory.ts';

const node = (meta: Record<string, string>) => ({
  name: 'n',
  id: '',
  address: '',
  taggedAddresses: null,
  meta,
  ofRegistrant: false,
  createIndex: 1,
  modifyIndex: 1,
  services: new Map(),
  checks: new Map(),
  ownChecks: new Map(),
});

it('goes on and says so once when the disk is full, and writes everything when there is room again', async () => {
  await using data = await temporaryDirectory('store');
  // A page limit stands for a full disk: the same SQLITE_FULL, from the same place.
  const file = new DatabaseSync(join(data.path, 'registry.db'));
  file.exec('PRAGMA journal_mode = WAL; CREATE TABLE filler (x)');
  file.close();
  const log: string[] = [];
  const opened = await Store.open(data.path, (level, message) => log.push(`${level} ${message}`), {
    maxPages: 8,
    retryMs: 50,
    patienceMs: 5000,
  });
  const { store } = opened!;
  store.node('n', node({ big: 'x'.repeat(200_000) }));
  await store.committed();
  store.node('m', node({}));
  await store.committed();
  expect(log).toEqual(['error registry cannot be written to disk and goes on from memory']);
  store.node('n', node({ small: 'y' }));
  await eventually(() => log.includes('info registry is written to disk again'));
  await store.close();
  const again = await Store.open(data.path, () => {});
  expect(again?.content.rows.map((row) => row.key)).toEqual(['m', 'n']);
  await again?.store.close();
});

it('tries a last time when it is closed: there may be room again', async () => {
  await using data = await temporaryDirectory('store');
  const file = new DatabaseSync(join(data.path, 'registry.db'));
  file.exec('PRAGMA journal_mode = WAL; CREATE TABLE filler (x)');
  file.close();
  const limits = { maxPages: 8, retryMs: 60_000, patienceMs: 5000 };
  const opened = await Store.open(data.path, () => {}, limits);
  const { store } = opened!;
  store.node('n', node({ big: 'x'.repeat(200_000) }));
  await store.committed();
  store.node('m', node({}));
  store.node('n', node({ small: 'y' }));
  await store.close();
  const again = await Store.open(data.path, () => {});
  expect(again?.content.rows.map((row) => row.key)).toEqual(['m', 'n']);
  await again?.store.close();
});

it('does not keep registrants waiting for a disk that is slow, says so, and writes all the same', async () => {
  await using data = await temporaryDirectory('store');
  const log: string[] = [];
  const limits = { maxPages: null, retryMs: 50, patienceMs: 0 };
  const opened = await Store.open(data.path, (level, message) => log.push(`${level} ${message}`), limits);
  const { store } = opened!;
  // Some ten milliseconds of work for the writer, against a patience of none.
  for (let i = 0; i < 3000; i++) store.node(`n${i}`, node({ big: 'x'.repeat(1000) }));
  await store.committed();
  expect(log).toContain('warn registry answers before its changes are on disk: the disk is slow');
  await store.close();
  const again = await Store.open(data.path, () => {});
  expect(again?.content.rows).toHaveLength(3000);
  await again?.store.close();
});
