import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FromWorker } from '../../../src/app/messages.ts';
import { rowsFor, Workers } from '../../../src/app/workers.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { SlotChunk } from '../../../src/endpoint/slots.ts';
import { eventually } from '../../helpers/eventually.ts';

const ROWS = rowsFor(3);

describe('Workers', () => {
  let workers: Workers;
  let told: FromWorker['kind'][];
  let gone: number[];

  beforeEach(() => {
    told = [];
    gone = [];
    const chunk = new SlotChunk(ROWS).buffer;
    workers = new Workers({
      count: 2,
      maxCount: 3,
      rows: ROWS,
      clock: systemClock,
      affinityKey: new Uint8Array(32),
      chunks: () => [chunk],
      onUp: (row) => workers.post(row, { kind: 'configure', configuration }),
      onMessage: (_, { kind }) => void told.push(kind),
      onGone: ({ worker }) => void gone.push(worker),
      onRows() {},
      onStalled() {},
      onStuck() {},
      onFrozen() {},
    });
  });

  const configuration = {
    pools: [],
    listeners: [],
    connections: 0,
    fastPath: false,
    access: null,
    decisions: 0,
    sample: null,
    ticketKeys: new Uint8Array(48),
  };

  afterEach(() => workers.close());

  it.each([
    ['one', [0]],
    ['all', [0, 1]],
  ])('has one worker more although %s of the others died while it started', async (_, dying) => {
    await workers.start();
    const resized = workers.resize(3);
    for (const worker of dying) workers.injectFault(worker, { kind: 'die' });
    await resized;
    expect(told).toContain('took-over');
    await eventually(() => gone.length === dying.length && workers.serving().length === 3);
  });
});
