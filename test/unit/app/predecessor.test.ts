import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import { Predecessor } from '../../../src/app/predecessor.ts';
import type { ToPredecessor } from '../../../src/app/upgrade-messages.ts';

class Channel extends EventEmitter {
  connected = true;
  readonly sent: ToPredecessor[] = [];

  send(message: ToPredecessor): void {
    this.sent.push(message);
  }
}

const drain = { state: 'drain' } as const;

function world() {
  const channel = new Channel();
  const predecessor = new Predecessor(channel as never, () => {});
  const heard: unknown[] = [];
  const follow = () =>
    predecessor.follow({
      endpoint: (...told) => heard.push(told),
      active: (counts) => heard.push(counts),
    });
  return { channel, predecessor, heard, follow };
}

it('a change that comes before this process can take it is not lost', () => {
  const { channel, heard, follow } = world();
  channel.emit('message', { kind: 'endpoint', pool: 'web', endpoint: 'a', change: drain });
  expect(heard).toEqual([]);
  follow();
  expect(heard).toEqual([['web', 'a', drain]]);
});

it('a change made here is over when the other process says so, or has ended; what was in flight there is none then', async () => {
  const { channel, predecessor, heard, follow } = world();
  follow();
  predecessor.ready();
  const done: string[] = [];
  const first = predecessor.tell('web', 'a', drain).then(() => done.push('first'));
  const second = predecessor.tell('web', 'b', drain).then(() => done.push('second'));
  channel.emit('message', { kind: 'active', active: { web: { a: 2 } }, number: 0 });
  await Promise.resolve();
  expect(done).toEqual([]);
  channel.emit('message', { kind: 'active', active: { web: { a: 1 } }, number: 1 });
  await first;
  expect(done).toEqual(['first']);
  channel.connected = false;
  channel.emit('disconnect');
  await second;
  await predecessor.gone;
  expect(heard).toEqual([{ web: { a: 2 } }, { web: { a: 1 } }, {}]);
  await predecessor.tell('web', 'a', drain);
});
