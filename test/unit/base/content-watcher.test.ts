import { expect, it } from 'vitest';
import { ContentWatcher } from '../../../src/base/content-watcher.ts';

it('takes what begins as it was told at the start for known, and from then on compares the whole', async ({
  onTestFinished,
}) => {
  let print = 'abcd';
  const told: string[] = [];
  const watcher = new ContentWatcher({
    directories: async () => [],
    print: async () => print,
    onChange: () => told.push(`new ${print}`),
    onSame: () => told.push(`same ${print}`),
  });
  onTestFinished(() => watcher.close());
  await watcher.start('ab');
  for (print of ['abcde', 'abcde', 'ab']) await watcher.look();
  expect(told).toEqual(['same abcd', 'new abcde', 'same abcde', 'new ab']);
});
