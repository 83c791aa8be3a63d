import { afterEach, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { OperationError } from '../../../src/base/errors.ts';
import { Heartbeat } from '../../../src/discovery/heartbeat.ts';
import { eventually } from '../../helpers/eventually.ts';

const away = new OperationError('registry-unreachable', 'away', { retryable: true });
const started: Heartbeat[] = [];
afterEach(() => {
  for (const one of started.splice(0)) one.stop();
});

function heartbeatOf(beat: () => Promise<void>, intervalMs: number, log: string[] = []): Heartbeat {
  const context = {
    name: 'h',
    clock: systemClock,
    // A tenth of the ceiling of each pause.
    random: () => 0.1,
    log: (_level: string, message: string, fields?: object) => void log.push(`${message} ${JSON.stringify(fields)}`),
  };
  const one = new Heartbeat({ beat, intervalMs, retryMaxMs: 300, context, fields: { id: 'me' } });
  started.push(one);
  return one;
}

it('goes on where the registry cannot be reached, says so once, and again when it failed anew', async () => {
  const log: string[] = [];
  let beats = 0;
  const fails = (beat: number) => beat < 4 || beat === 6;
  const one = heartbeatOf(() => (fails(beats++) ? Promise.reject(away) : Promise.resolve()), 10, log);
  await one.start();
  await eventually(() => beats > 8);
  const line = 'the registration is not kept up; trying again {"id":"me","error":"away"}';
  expect(log).toEqual([line, line]);
});

it('is over with a first beat that is refused', async () => {
  let beats = 0;
  const refused = new OperationError('registry-denied', 'no');
  const one = heartbeatOf(() => {
    beats++;
    return Promise.reject(refused);
  }, 1);
  await expect(one.start()).rejects.toBe(refused);
  one.soon();
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(beats).toBe(1);
});

it('beats out of turn, once more when that is asked for during a beat, and never after stop', async () => {
  let release = () => {};
  let beats = 0;
  const one = heartbeatOf(() => {
    beats++;
    return new Promise((resolve) => {
      release = resolve;
    });
  }, Number.POSITIVE_INFINITY);
  const start = one.start();
  one.soon();
  one.soon();
  release();
  await start;
  await eventually(() => beats === 2);
  release();
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(beats).toBe(2);
  one.soon();
  await eventually(() => beats === 3);
  one.stop();
  one.soon();
  release();
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(beats).toBe(3);
});
