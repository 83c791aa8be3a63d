import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ConfigCentre } from '../../../src/centre/config-centre.ts';
import { directoryWorld, openTestCentre, type StoreWorld } from '../../helpers/config-stores.ts';

describe('a config centre', () => {
  let world: StoreWorld;
  let centre: ConfigCentre;

  beforeEach(async () => {
    world = await directoryWorld.start();
    centre = openTestCentre(world.address);
  });
  afterEach(async () => {
    await centre.store.close();
    await world.close();
  });

  const push = (document: string, more: object = {}) =>
    centre.push({ document, author: 'test', message: '', onto: null, trial: null, ...more });
  const report = (name: string) =>
    centre.report({ name, time: new Date().toISOString(), id: '0'.repeat(12), number: 1, since: '', refused: null });

  it('reads the head when that is asked for, and no further back than what is looked for', async () => {
    for (const document of ['one', 'two', 'three', 'four']) await push(document);
    const get = vi.spyOn(centre.store, 'get');
    const read = () => get.mock.calls.splice(0).filter(([key]) => key.startsWith('versions/')).length;
    expect([(await centre.find('head')).number, read()]).toEqual([4, 1]);
    expect([(await centre.find('3')).document, read()]).toEqual(['three', 2]);
    expect([(await centre.history(2)).map(({ number }) => number), read()]).toEqual([[4, 3], 2]);
    await expect(centre.find('9')).rejects.toThrow(/has no version 9/);
  });

  it('keeps no version that no proxy could try', async () => {
    await push('one');
    const trial = { proxies: { count: 1 }, trialMs: 1000 };
    await expect(push('two', { trial })).rejects.toMatchObject({ code: 'no-proxies' });
    expect(await centre.store.list('versions')).toHaveLength(1);
  });

  it('tells what proxies said although one report is garbled', async () => {
    await report('one');
    await centre.store.set('proxies/two', '{"format": 99}');
    await report('three');
    expect((await centre.reports()).map(({ name }) => name)).toEqual(['one', 'three']);
    expect((await centre.living()).sort()).toEqual(['one', 'three']);
  });
});
