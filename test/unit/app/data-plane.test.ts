import { afterEach, describe, expect, it, vi } from 'vitest';
import { DataPlane } from '../../../src/app/data-plane.ts';
import { Heartbeats } from '../../../src/app/heartbeats.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { PoolWords } from '../../../src/endpoint/pool-words.ts';
import { SlotChunk } from '../../../src/endpoint/slots.ts';
import { Pool } from '../../../src/pool/pool.ts';
import { eventually } from '../../helpers/eventually.ts';
import { poolOptionsOf } from '../../helpers/pool-options.ts';

const ROWS = 2;

describe('DataPlane', () => {
  let plane: DataPlane;
  let heartbeats: Heartbeats;

  afterEach(() => {
    plane.close();
    vi.restoreAllMocks();
  });

  function start(): void {
    heartbeats = new Heartbeats(ROWS);
    plane = new DataPlane({
      worker: 0,
      workers: 1,
      row: 1,
      rows: ROWS,
      clock: systemClock,
      random: systemRandom,
      heartbeats,
      chunks: [new SlotChunk(ROWS).buffer],
      affinityKey: new Uint8Array(32),
      post: () => {},
    });
    plane.configure({
      pools: [{ name: 'web', options: poolOptionsOf(), words: new PoolWords(ROWS).buffer }],
      listeners: [],
      connections: 0,
      fastPath: false,
      access: null,
      decisions: 0,
      sample: null,
      ticketKeys: new Uint8Array(48),
    });
  }

  it('holds nobody to what times out in a stall of its own, also in one behind the tick', async () => {
    const hold = vi.spyOn(Pool.prototype, 'hold');
    // Called by the tick, which has looked at the time before.
    let stalls = 0;
    vi.spyOn(Pool.prototype, 'tick').mockImplementation(() => {
      if (stalls++ === 2) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
    });
    start();
    await eventually(() => stalls > 6);
    expect(hold).toHaveBeenCalled();
    // For main, which judges over time and tells the lag.
    expect(heartbeats.lagMs(1)).toBeGreaterThan(200);
  });
});
