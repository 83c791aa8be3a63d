import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { catalogs } from '../../../src/app/catalogs.ts';
import { type DocumentOptions, readDocument } from '../../../src/app/document.ts';
import { Sources } from '../../../src/app/sources.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { eventually } from '../../helpers/eventually.ts';
import { freePort } from '../../helpers/ports.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../../helpers/temporary-directory.ts';

describe('where endpoints come from', () => {
  let state: TemporaryDirectory;
  let sets: string[][];
  let said: string[];
  let sources: Sources;

  beforeEach(async () => {
    state = await temporaryDirectory('sources');
    sets = [];
    said = [];
    sources = new Sources({
      clock: systemClock,
      random: () => 0.5,
      log: (_, message) => void said.push(message),
      stateDirectory: state.path,
      onSet: (_, set) => sets.push(set.map(({ host, port, weight }) => `${host}:${port} ${weight}`)),
      publish: ({ type }) => void said.push(type),
      succession: null,
    });
  });

  afterEach(async () => {
    await sources.close();
    await state.close();
  });

  function document(pool: object, registries: object = {}, more: object = {}): DocumentOptions {
    const listeners = [{ name: 'web', bind: '127.0.0.1:8080', pool: 'web' }];
    const text = JSON.stringify({ listeners, registries, pools: { web: pool, ...more } });
    return readDocument(text, 'e.yaml', {}, catalogs).document;
  }

  const isRefused = (bind: string) =>
    fetch(`http://${bind}/`).then(
      () => false,
      () => true,
    );
  const hasName = (set: readonly string[]) => set.some((one) => one.startsWith('127.0.0.1:9001'));

  it('keeps the addresses of a name through a reload that changes something else of the pool', async () => {
    const pool = (weight: number) => ({
      endpoints: [{ address: 'localhost:9001' }, { address: '127.0.0.2:9002', weight }],
    });
    await sources.configure(document(pool(1)));
    await eventually(() => hasName(sets.at(-1) ?? []));
    sets.length = 0;
    await sources.configure(document(pool(5)));
    expect(sets.at(-1)).toContain('127.0.0.2:9002 5');
    expect(sets.every(hasName)).toBe(true);
  });

  it('keeps them while the registry that names it is another one', async () => {
    const text = 'services: { web: [{ address: "localhost:9001" }, { address: "127.0.0.2:9002" }] }';
    const [first, second] = [await state.write('first.yaml', text), await state.write('second.yaml', text)];
    const registry = (path: string) => ({ files: { kind: 'file', path } });
    const pool = { discover: { registry: 'files', service: 'web' } };
    await sources.configure(document(pool, registry(first)));
    await eventually(() => hasName(sets.at(-1) ?? []));
    sets.length = 0;
    await sources.configure(document(pool, registry(second)));
    await sources.synced();
    expect(sets.length).toBeGreaterThan(0);
    expect(sets.every(hasName)).toBe(true);
  });

  it('a registry is regained, and may be lost again, when the pool left that it could not serve', async () => {
    const good = 'services: { web: [{ address: "127.0.0.2:9002" }] }';
    await state.write('services/web.yaml', good);
    await state.write('services/bad.yaml', 'services: [');
    const registries = { files: { kind: 'file', path: join(state.path, 'services') } };
    const pool = (service: string) => ({ discover: { registry: 'files', service } });
    const told = () => said.filter((one) => one.startsWith('registry-'));
    await sources.configure(document(pool('web'), registries, { bad: pool('bad') }));
    await sources.synced(['web']);
    await eventually(() => told().length > 0);
    await sources.configure(document(pool('web'), registries));
    expect(told()).toEqual(['registry-lost', 'registry-regained']);
    await state.write('services/web.yaml', 'services: [');
    await eventually(() => told().length > 2);
    expect(told().at(-1)).toBe('registry-lost');
    // One that feeds no pool is neither: there is nothing that it could not say.
    await sources.configure(document({ endpoints: [{ address: '127.0.0.1:9001' }] }, registries));
    await sources.configure(document(pool('web'), registries));
    await eventually(() => told().length > 3);
    expect(told().slice(3)).toEqual(['registry-lost']);
  });

  it('says nothing of a registry of ours that a successor serves', async () => {
    const bind = `127.0.0.1:${await freePort()}`;
    const registries = { own: { kind: 'embedded', bind } };
    await sources.configure(document({ discover: { registry: 'own', service: 'web' } }, registries));
    await sources.synced();
    await sources.retire(bind, '');
    // It serves another address, and closes this one.
    const server = sources.give(bind, (client) => client.destroy());
    sources.letGo();
    server?.close();
    await eventually(() => isRefused(bind));
    // Some times what it takes to be noticed.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(said).toEqual([]);
  });
});
