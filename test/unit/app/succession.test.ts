import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { Ending, type EndingParts } from '../../../src/app/ending.ts';
import { Succession, type SuccessionParts } from '../../../src/app/succession.ts';
import { Turns } from '../../../src/app/turns.ts';

/** Stands for a process that ends at once, as one does whose document is wrong. */
class Failing extends EventEmitter {
  readonly pid = 4242;
  readonly connected = false;
  exitCode: number | null = null;
  readonly signalCode = null;

  constructor() {
    super();
    queueMicrotask(() => {
      this.exitCode = 78;
      this.emit('exit', 78, null);
    });
  }
}

function succession(startSuccessor: () => ChildProcess) {
  const turns = new Turns();
  const events: string[] = [];
  const parts = {
    turns,
    events: { publish: ({ type }: { type: string }) => void events.push(type) },
    state: { wasReady: true, draining() {} },
    runtime: () => ({ upgradeTimeout: 60_000, announce: 0, drain: 0 }),
    lent: { giveBack() {} },
    sources: { takeBack: async () => {} },
    registrations: { leave: async () => {} },
    workers: { ending() {}, broadcast() {}, rows: () => [] },
    predecessorGone: () => null,
    predecessor: null,
    startSuccessor,
  };
  const ending = new Ending(parts as unknown as EndingParts);
  return { turns, events, ending, succession: new Succession({ ...parts, ending } as unknown as SuccessionParts) };
}

describe('an upgrade that waits for another act', () => {
  it('starts nothing before its turn, and a new process that fails then leaves the old one as it was', async () => {
    let started = 0;
    const {
      turns,
      events,
      succession: one,
    } = succession(() => {
      started++;
      return new Failing() as unknown as ChildProcess;
    });
    const act = Promise.withResolvers<void>();
    void turns.take(() => act.promise);
    const upgrading = one.upgrade();
    expect(await one.upgrade()).toMatchObject({ upgraded: false, message: expect.stringMatching(/is under way/) });
    expect([started, one.hasBegun]).toEqual([0, false]);
    act.resolve();
    expect(await upgrading).toMatchObject({ upgraded: false, message: expect.stringMatching(/exit status 78/) });
    expect(events).toEqual(['upgrading', 'upgrade-failed']);
    expect(await one.upgrade()).toMatchObject({ upgraded: false });
    expect(started).toBe(2);
  });

  it('is refused when the process is shutting down by then, and when no process can be started', async () => {
    const {
      turns,
      ending,
      succession: one,
    } = succession(() => {
      throw new Error('no memory for another process');
    });
    expect(await one.upgrade()).toMatchObject({ upgraded: false, message: 'no memory for another process' });
    const act = Promise.withResolvers<void>();
    void turns.take(() => act.promise);
    const upgrading = one.upgrade();
    const draining = ending.drain('SIGTERM');
    one.abort('this process is shutting down');
    act.resolve();
    expect(await upgrading).toMatchObject({ upgraded: false, message: 'this process is shutting down' });
    await draining;
  });
});
