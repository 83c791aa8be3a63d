import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { EventCounts } from '../../../src/telemetry/event-counts.ts';
import { EVENT_CHANNEL, EventLog } from '../../../src/telemetry/event-log.ts';

function setUp() {
  const lines: { level: number; msg: string; [key: string]: unknown }[] = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const events = new EventLog({ log, wallClock: () => Date.UTC(2026, 0, 1) });
  return { events, lines };
}

const becameFit = (endpoint: string) => ({ type: 'fit', pool: 'web', endpoint }) as const;

describe('EventLog', () => {
  it('numbers events, stamps them, logs them and publishes them on the diagnostics channel', () => {
    const { events, lines } = setUp();
    const published: unknown[] = [];
    const onEvent = (event: unknown) => published.push(event);
    subscribe(EVENT_CHANNEL, onEvent);
    onTestFinished(() => void unsubscribe(EVENT_CHANNEL, onEvent));
    events.publish(becameFit('a:1'));
    events.publish({ type: 'worker-died', worker: 1, reason: 'out of memory' });
    expect(published).toEqual([
      { id: 1, time: '2026-01-01T00:00:00.000Z', type: 'fit', pool: 'web', endpoint: 'a:1' },
      { id: 2, time: '2026-01-01T00:00:00.000Z', type: 'worker-died', worker: 1, reason: 'out of memory' },
    ]);
    expect(lines.map(({ level, msg }) => [level, msg])).toEqual([
      [30, 'fit'],
      [50, 'worker-died'],
    ]);
    expect(lines[1]).toMatchObject({ worker: 1, reason: 'out of memory' });
  });

  it('keeps the last 1 000 for those who come later', () => {
    const { events } = setUp();
    for (let i = 1; i <= 1500; i++) events.publish(becameFit(`a:${i}`));
    const all = events.since(0);
    expect([all.length, all[0].id, all.at(-1)?.id]).toEqual([1000, 501, 1500]);
    expect(events.since(1498).map(({ id }) => id)).toEqual([1499, 1500]);
    expect(events.since(1500)).toEqual([]);
  });

  it('goes on telling the others when a listener throws', () => {
    const { events, lines } = setUp();
    const heard: number[] = [];
    events.listen(() => {
      throw new Error('broken listener');
    });
    const stop = events.listen(({ id }) => heard.push(id));
    events.publish(becameFit('a:1'));
    stop();
    events.publish(becameFit('a:1'));
    expect(heard).toEqual([1]);
    expect(lines.some(({ msg }) => msg === 'a listener to events failed')).toBe(true);
  });

  it('tells a small delta endpoint by endpoint and a large one in numbers', () => {
    const { events } = setUp();
    events.publishChanges('web', ['a:1'], ['a:2'], []);
    events.publishChanges('web', [], [], []);
    events.publishChanges('web', Array(5000).fill('a:3'), ['a:4'], []);
    expect(events.since(0).map(({ type }) => type)).toEqual([
      'endpoint-added',
      'endpoint-removed',
      'endpoints-changed',
    ]);
    expect(events.since(2)[0]).toMatchObject({ added: 5000, removed: 1, changed: 0 });
  });
});

describe('EventCounts', () => {
  const ejected = (endpoint: string, cause = 'success-rate') =>
    ({ type: 'ejected', pool: 'web', endpoint, cause, forMs: 1 }) as const;
  const table = (counts: EventCounts) =>
    [...counts.of('ejected')].map(({ endpoint, cause, count }) => [endpoint, cause, count]);

  it('counts ejections by endpoint and cause, and nothing else', () => {
    const counts = new EventCounts(10);
    for (const event of [ejected('a:1'), ejected('a:1'), ejected('a:1', 'consecutive-failures'), ejected('a:2')]) {
      counts.take(event);
    }
    counts.take(becameFit('a:1'));
    expect(table(counts)).toEqual([
      ['a:1', 'success-rate', 2],
      ['a:1', 'consecutive-failures', 1],
      ['a:2', 'success-rate', 1],
    ]);
  });

  it('counts endpoints beyond the limit together, until places of endpoints that left are given back', () => {
    const counts = new EventCounts(2);
    for (const endpoint of ['a:1', 'a:2', 'a:3', 'a:4', 'a:1']) counts.take(ejected(endpoint));
    expect(table(counts)).toEqual([
      ['a:1', 'success-rate', 2],
      ['a:2', 'success-rate', 1],
      ['other', 'success-rate', 2],
    ]);
    counts.forgetGone((_, endpoint) => endpoint !== 'a:1');
    counts.take(ejected('a:5'));
    expect(table(counts)).toEqual([
      ['a:2', 'success-rate', 1],
      ['other', 'success-rate', 2],
      ['a:5', 'success-rate', 1],
    ]);
  });
});
