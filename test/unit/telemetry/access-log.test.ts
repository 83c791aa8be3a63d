import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AccessRecord } from '../../../src/proxy/access-sink.ts';
import { ListenerCells } from '../../../src/proxy/listener-cells.ts';
import { formatAccessLine } from '../../../src/telemetry/access-line.ts';
import { AccessLogBuffer } from '../../../src/telemetry/access-log-buffer.ts';

const record: AccessRecord = {
  listenerName: 'shop',
  routeName: 'orders',
  poolName: 'orders',
  endpointId: '10.0.0.1:8080',
  clientAddress: '192.0.2.7',
  methodText: 'GET',
  path: '/orders/17',
  query: 'token=secret',
  status: 200,
  reason: '',
  bytesIn: 120,
  bytesOut: 4096,
  attempts: 1,
  hedge: '',
  queueMs: 0.0421,
  connectMs: 0,
  responseMs: 12.3456,
  totalMs: 1012.5,
  traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
};
const wallMs = Date.UTC(2026, 4, 9, 7, 20, 29, 7);

describe('formatAccessLine', () => {
  it('has the fields of the contract, in order, one line', () => {
    const line = formatAccessLine(record, wallMs, false);
    expect(line.endsWith('}\n')).toBe(true);
    expect(Object.entries(JSON.parse(line))).toEqual([
      ['time', '2026-05-09T07:20:29.007Z'],
      ['listener', 'shop'],
      ['route', 'orders'],
      ['pool', 'orders'],
      ['endpoint', '10.0.0.1:8080'],
      ['client', '192.0.2.7'],
      ['method', 'GET'],
      ['path', '/orders/17'],
      ['status', 200],
      ['reason', null],
      ['bytesIn', 120],
      ['bytesOut', 4096],
      ['attempts', 1],
      ['queue', 0.042],
      ['connect', 0],
      ['response', 12.346],
      ['total', 1012.5],
      ['traceId', '4bf92f3577b34da6a3ce929d0e0e4736'],
    ]);
  });

  it('names the route of each exchange, also when routes take turns', () => {
    const names = (change: Partial<AccessRecord>) => {
      const { listener, route, pool } = JSON.parse(formatAccessLine({ ...record, ...change }, wallMs, false));
      return [listener, route, pool];
    };
    expect(names({})).toEqual(['shop', 'orders', 'orders']);
    expect(names({ routeName: 'a "quoted" one' })).toEqual(['shop', 'a "quoted" one', 'orders']);
    expect(names({ poolName: 'web' })).toEqual(['shop', 'orders', 'web']);
    expect(names({ listenerName: 'intern' })).toEqual(['intern', 'orders', 'orders']);
  });

  it('leaves the query out unless it is asked for', () => {
    expect(formatAccessLine(record, wallMs, false)).not.toContain('secret');
    expect(JSON.parse(formatAccessLine(record, wallMs, true)).path).toBe('/orders/17?token=secret');
    expect(JSON.parse(formatAccessLine({ ...record, query: '' }, wallMs, true)).path).toBe('/orders/17');
  });

  it('writes null for what there was not, and no traceId without one', () => {
    const line = {
      ...record,
      endpointId: '',
      connectMs: -1,
      responseMs: -1,
      traceId: '',
      reason: 'limit',
      status: 503,
    } as const;
    const read = JSON.parse(formatAccessLine(line, wallMs, false));
    expect(read).toMatchObject({ endpoint: null, connect: null, response: null, reason: 'limit', status: 503 });
    expect('traceId' in read).toBe(false);
  });

  it('keeps one line of right JSON whatever a client sends', () => {
    // Lone surrogates too: what a client sends need not be text.
    const anyText = fc
      .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 20 })
      .map((codes) => String.fromCharCode(...codes));
    fc.assert(
      fc.property(
        anyText,
        anyText,
        fc.constantFrom('\ud800', '\u0000', '\u2028', '"', '\\', '\n'),
        (path, method, nasty) => {
          const line = formatAccessLine({ ...record, path: path + nasty, methodText: method }, wallMs, false);
          expect(line.indexOf('\n')).toBe(line.length - 1);
          const read = JSON.parse(line);
          expect(read.path).toBe(path + nasty);
          expect(read.method).toBe(method);
        },
      ),
    );
  });

  it('writes every time of the clock and every phase as its number', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4e12 }), fc.double({ min: 0, max: 1e7, noNaN: true }), (time, ms) => {
        const read = JSON.parse(formatAccessLine({ ...record, totalMs: ms }, time, false));
        expect(read.time).toBe(new Date(time).toISOString());
        expect(read.total).toBeCloseTo(ms, 2.9);
        expect(String(read.total)).toMatch(/^\d+(\.\d{1,3})?$/);
      }),
    );
  });
});

describe('AccessLogBuffer', () => {
  function setUp({ batchLength = 64 * 1024, unacknowledgedLength = 1e6 } = {}) {
    const cells = new ListenerCells(2);
    const batches: { batch: string; lines: number }[] = [];
    const send = (batch: string, lines: number) => void batches.push({ batch, lines });
    const wallClock = () => wallMs;
    const buffer = new AccessLogBuffer({
      cells,
      row: 1,
      query: false,
      send,
      batchLength,
      unacknowledgedLength,
      wallClock,
    });
    return { cells, batches, buffer };
  }
  const length = formatAccessLine(record, wallMs, false).length;

  it('hands the lines of a tick over as one batch, and nothing when there were none', () => {
    const { buffer, batches } = setUp();
    buffer.flush();
    for (let i = 0; i < 3; i++) buffer.record(record);
    expect(batches).toEqual([]);
    buffer.flush();
    buffer.flush();
    expect(batches.map(({ batch, lines }) => [batch.split('\n').length - 1, lines])).toEqual([[3, 3]]);
  });

  it('does not wait for the tick when a batch is full', () => {
    const { buffer, batches } = setUp({ batchLength: length * 2 });
    for (let i = 0; i < 5; i++) buffer.record(record);
    expect(batches.map(({ lines }) => lines)).toEqual([2, 2]);
  });

  it('drops and counts lines past the bound, and takes them again once main has caught up', () => {
    const { buffer, batches, cells } = setUp({ batchLength: length, unacknowledgedLength: length * 3 });
    for (let i = 0; i < 10; i++) buffer.record(record);
    expect(batches.length).toBe(3);
    expect(cells.logDroppedTotal).toBe(7);
    expect(buffer.unacknowledged).toBe(length * 3);
    buffer.acknowledge(length);
    buffer.record(record);
    buffer.record(record);
    expect(batches.length).toBe(4);
    expect(cells.logDroppedTotal).toBe(8);
  });
});
