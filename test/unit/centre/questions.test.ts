import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededRandom } from '../../../src/base/random.ts';
import { Questions } from '../../../src/centre/questions.ts';
import type { Store } from '../../../src/centre/store.ts';
import { directoryWorld, openTestStore, type StoreWorld } from '../../helpers/config-stores.ts';
import { eventually } from '../../helpers/eventually.ts';

describe('a question to a proxy', () => {
  let world: StoreWorld;
  let asking: Store;
  let answering: Store;
  let nowMs: number;
  const failures: Error[] = [];
  const watches: { close(): void }[] = [];

  beforeEach(async () => {
    world = await directoryWorld.start();
    [asking, answering] = [openTestStore(world.address), openTestStore(world.address, 2)];
    nowMs = 1_700_000_000_000;
    failures.length = 0;
  });
  afterEach(async () => {
    for (const watch of watches.splice(0)) watch.close();
    await Promise.all([asking.close(), answering.close()]);
    await world.close();
    expect(failures).toEqual([]);
  });

  const judgement = (document: string) => ({ id: document, problems: [], unjudged: [], changes: [], replay: null });
  const questionsOf = (store: Store, seed: number) =>
    new Questions(store, { wallClock: () => nowMs, random: seededRandom(seed) });
  /** A proxy that has said that it answers; `judge` default: at once. */
  const proxy = async (
    name: string,
    judge: (document: string) => Promise<ReturnType<typeof judgement>> = async (text) => judgement(text),
  ) => {
    watches.push(questionsOf(answering, 2).answer(name, judge, (error) => void failures.push(error)));
    await eventually(async () => (await asking.get(`questions/${name}`)) !== null);
  };
  const standing = async (name: string) => JSON.parse((await asking.get(`questions/${name}`))?.text ?? '{}').kind;

  it('is answered by the first of those who are asked, and taken back from the others', async () => {
    const slow = Promise.withResolvers<ReturnType<typeof judgement>>();
    await proxy('one', () => slow.promise);
    await proxy('two');
    const answer = await questionsOf(asking, 1).ask(['one', 'two'], 'doc', 5000);
    expect(answer).toMatchObject({ proxy: 'two', judgement: { id: 'doc' } });
    slow.resolve(judgement('late'));
    expect([await standing('one'), await standing('two')]).toEqual(['nothing', 'nothing']);
    // The late answer found its question gone, and the next question is answered as ever.
    expect(await questionsOf(asking, 3).ask(['one'], 'again', 5000)).toMatchObject({ judgement: { id: 'late' } });
  });

  it('is not put to a proxy that answers none, and comes to nothing when a dead one does not answer', async () => {
    const questions = questionsOf(asking, 1);
    expect(await questions.ask(['nobody'], 'doc', 60_000)).toBeNull();
    await proxy('dead');
    for (const watch of watches.splice(0)) watch.close();
    expect(await questions.ask(['dead'], 'doc', 50)).toBeNull();
    expect(await standing('dead')).toBe('nothing');
  });

  it('waits for nobody else’s, unless who asked has died', async () => {
    const slow = Promise.withResolvers<ReturnType<typeof judgement>>();
    await proxy('one', (document) => (document === 'first' ? slow.promise : Promise.resolve(judgement(document))));
    const first = questionsOf(asking, 1).ask(['one'], 'first', 1500);
    await eventually(async () => (await standing('one')) === 'question');
    expect(await questionsOf(asking, 3).ask(['one'], 'second', 5000)).toBeNull();
    nowMs += 61_000;
    expect(await questionsOf(asking, 3).ask(['one'], 'second', 5000)).toMatchObject({ judgement: { id: 'second' } });
    slow.resolve(judgement('first'));
    expect(await first).toBeNull();
  });

  it('can be asked again after the store has lost everything', async () => {
    await proxy('one');
    expect(await questionsOf(asking, 1).ask(['one'], 'doc', 5000)).toMatchObject({ proxy: 'one' });
    await asking.remove('questions/one');
    await eventually(async () => (await standing('one')) === 'nothing');
    expect(await questionsOf(asking, 3).ask(['one'], 'doc', 5000)).toMatchObject({ proxy: 'one' });
  });
});
