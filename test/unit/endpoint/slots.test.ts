import { describe, expect, it } from 'vitest';
import { BUCKETS, bucketIndex } from '../../../src/base/histogram.ts';
import { Down } from '../../../src/endpoint/down.ts';
import { OUTCOMES, Outcome } from '../../../src/endpoint/outcome.ts';
import { CHUNK_SLOTS, SlotChunk, SlotTable } from '../../../src/endpoint/slots.ts';
import { EndpointFactory } from '../../helpers/endpoint-factory.ts';

describe('slots in shared memory', () => {
  it('keep every array of a chunk apart', () => {
    const chunk = new SlotChunk(3);
    const arrays = Object.values(chunk).filter((one): one is Int32Array | Float64Array => ArrayBuffer.isView(one));
    arrays.forEach((array, i) => array.fill(i + 1));
    arrays.forEach((array, i) => expect(new Set(array)).toEqual(new Set([i + 1])));
    const bytes = arrays.reduce((sum, { byteLength }) => sum + byteLength, 0);
    expect(chunk.buffer.byteLength).toBe(bytes);
  });

  it('sum the attempts of all workers, and know those of one', () => {
    const factory = new EndpointFactory(4, 1);
    const here = factory.make();
    const there = factory.view(here.slot, {}, 2);
    here.begin(1000);
    there.begin(1100);
    there.begin(1200);
    expect([here.active, here.activeHere, here.waiting, here.waitingAgeMs(2000)]).toEqual([3, 1, 3, 900]);
    there.answered(1100);
    there.end(Outcome.OK, 42);
    expect([here.active, here.waiting, here.waitingAgeMs(2000)]).toEqual([2, 2, 900]);
    here.answered(1000);
    here.end(Outcome.CLIENT_GONE, 7);
    there.cancel(1200);
    expect([here.active, here.waiting, here.waitingAgeMs(2000)]).toEqual([0, 0, 0]);
    const counts = Array.from({ length: OUTCOMES }, (_, outcome) => here.outcomes(outcome as Outcome));
    expect(counts).toEqual([1, 0, 0, 0, 0, 1]);
    // A client that left says nothing about latency; an attempt that was cancelled says nothing at all.
    expect(here.latencySumMs).toBe(42);
    const buckets = Array.from({ length: BUCKETS }, (_, bucket) => here.latencyBucket(bucket));
    expect(buckets.reduce((sum, count) => sum + count)).toBe(1);
    expect(buckets[bucketIndex(42)]).toBe(1);
  });

  it('lose what a dead worker had in flight, never what it had counted', () => {
    const factory = new EndpointFactory(3, 1);
    const here = factory.make();
    const dead = factory.view(here.slot, {}, 2);
    dead.begin(5);
    dead.begin(5);
    dead.answered(5);
    dead.end(Outcome.RESET, 3);
    here.begin(6);
    factory.table.chunkOf(here.slot).retire(2);
    expect([here.active, here.waiting, here.outcomes(Outcome.RESET), here.latencySumMs]).toEqual([1, 1, 1, 3]);
    expect(here.waitingAgeMs(10)).toBe(4);
  });

  it('are as new after clear', () => {
    const factory = new EndpointFactory(2, 1);
    const used = factory.make();
    used.begin(1);
    used.setDown(Down.EJECTED);
    used.setLatency(5, 6);
    used.failuresInRow = 3;
    used.ejections = 2;
    used.ejectedUntilMs = 9;
    used.readySinceMs = 8;
    used.end(Outcome.OK, 5);
    factory.table.chunkOf(used.slot).clear(used.slot % CHUNK_SLOTS);
    const { active, waiting, down, failuresInRow, ejections, ejectedUntilMs, readySinceMs, latencyMs } = used;
    expect([active, waiting, down, failuresInRow, ejections, ejectedUntilMs, readySinceMs]).toEqual(
      new Array(7).fill(0),
    );
    expect(latencyMs).toBeNaN();
    expect(used.outcomes(Outcome.OK)).toBe(0);
  });

  it('have bits that do not overwrite each other, and tell what they were', () => {
    const endpoint = new EndpointFactory().make();
    expect(endpoint.setDown(Down.PROBE)).toBe(0);
    expect(endpoint.setDown(Down.EJECTED)).toBe(Down.PROBE);
    expect(endpoint.setDown(Down.ADMIN, Down.PROBE)).toBe(Down.PROBE | Down.EJECTED);
    expect(endpoint.down).toBe(Down.EJECTED | Down.ADMIN);
  });

  it('are found over all chunks', () => {
    const table = new SlotTable(2, [new SlotChunk(2).buffer, new SlotChunk(2).buffer]);
    expect(table.chunkOf(CHUNK_SLOTS - 1)).toBe(table.chunks[0]);
    expect(table.chunkOf(CHUNK_SLOTS)).toBe(table.chunks[1]);
  });
});
