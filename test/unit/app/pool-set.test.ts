import { pino } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import { PoolSet } from '../../../src/app/pool-set.ts';
import { EventLog } from '../../../src/telemetry/event-log.ts';
import { poolOptionsOf } from '../../helpers/pool-options.ts';

const ENDPOINT = '127.0.0.1:9001';

describe('PoolSet', () => {
  let set: PoolSet;

  afterEach(() => set.close());

  function setUp() {
    const events = new EventLog({ log: pino({ level: 'silent' }) });
    set = new PoolSet(2, { broadcast() {}, rows: () => [] }, events, () => null);
    const web = poolOptionsOf();
    const add = () => {
      set.add({ web });
      set.replace('web', [
        {
          host: '127.0.0.1',
          port: 9001,
          weight: 1,
          zone: '',
          version: '',
          backup: false,
          tags: [],
          metadata: {},
          status: 'up',
          generation: '',
        },
      ]);
      return set.live(() => 'document')[0];
    };
    return { add };
  }

  it('takes what an operator had set before an upgrade over once, not again for a pool that comes back', () => {
    const { add } = setUp();
    set.inherit({ web: { [ENDPOINT]: { state: 'drain', weight: null } } });
    expect(add().endpoints[0].adminState).toBe('drain');
    expect(set.setEndpoint('web', ENDPOINT, { state: 'ready' })).toBe('done');
    set.retain({});
    expect(add().endpoints[0].adminState).toBe('ready');
  });

  it('holds the detectors of a pool still that is added while a worker stalls', () => {
    const { add } = setUp();
    set.freeze(true);
    expect(add().words.frozen).toBe(true);
    set.freeze(false);
    expect(add().words.frozen).toBe(false);
  });
});
