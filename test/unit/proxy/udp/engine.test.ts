import { createSocket, type Socket } from 'node:dgram';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../src/base/clock.ts';
import { seededRandom } from '../../../../src/base/random.ts';
import { TimerWheel } from '../../../../src/base/timer-wheel.ts';
import { packDelta } from '../../../../src/endpoint/delta.ts';
import { Down } from '../../../../src/endpoint/down.ts';
import type { Endpoint } from '../../../../src/endpoint/endpoint.ts';
import { PoolWords } from '../../../../src/endpoint/pool-words.ts';
import { Pool } from '../../../../src/pool/pool.ts';
import { ListenerCells, REASONS } from '../../../../src/proxy/listener-cells.ts';
import { UdpEngine, type UdpSettings } from '../../../../src/proxy/udp/engine.ts';
import { RouteCells } from '../../../../src/routing/route-cells.ts';
import { EndpointFactory } from '../../../helpers/endpoint-factory.ts';
import { eventually } from '../../../helpers/eventually.ts';
import { poolOptionsOf } from '../../../helpers/pool-options.ts';

const ROW = 1;

describe('a UDP engine', () => {
  let cells: ListenerCells;
  let engine: UdpEngine;
  let clock: ManualClock;
  let endpoint: Endpoint;
  /** The engine's own. */
  let door: Socket;
  /** That takes what is sent to the pool. */
  let sink: Socket;

  beforeEach(async () => {
    sink = createSocket('udp4').bind(0, '127.0.0.1');
    await once(sink, 'listening');
    clock = new ManualClock();
    const factory = new EndpointFactory(2, ROW);
    endpoint = factory.make({ port: sink.address().port });
    const pool = new Pool('sink', poolOptionsOf(), new PoolWords(2), {
      clock,
      random: seededRandom(1),
      worker: 0,
      workers: 1,
      row: ROW,
      table: factory.table,
      onEjected: () => {},
      onGone: () => {},
    });
    for (const delta of packDelta('sink', 1, [endpoint], [])) pool.apply(delta);
    const settings: UdpSettings = {
      listenerName: 'udp',
      route: { name: 'all', pool, cells: new RouteCells(2) },
      idleMs: 1_000,
      replies: null,
      perPacket: false,
      sessions: 0,
      processIsFull: () => false,
    };
    cells = new ListenerCells(2);
    engine = new UdpEngine(settings, cells, { row: ROW, clock, wheel: new TimerWheel(50) }, null);
  });

  afterEach(() => {
    engine.cut();
    expect(cells.connectionsActive).toBe(0);
    sink.close();
  });

  const listen = (port: number) =>
    new Promise<Error | null>((resolve) => engine.listen(`127.0.0.1:${port}`, '127.0.0.1', port, resolve));

  async function open(): Promise<void> {
    const onMade = (message: unknown) => {
      door = (message as { socket: Socket }).socket;
    };
    subscribe('udp.socket', onMade);
    expect(await listen(0)).toBe(null);
    unsubscribe('udp.socket', onMade);
  }
  const come = (port: number) => door.emit('message', Buffer.from('x'), { address: '127.0.0.1', port });

  it('begins a session anew where its endpoint is down, when no answer is awaited any more; not where it is draining', async () => {
    await open();
    come(9);
    endpoint.setDown(Down.DRAINING);
    for (let i = 0; i < 3; i++) {
      clock.advance(2_000);
      come(9);
    }
    expect(cells.connectionsTotal).toBe(1);
    endpoint.setDown(Down.PROBE);
    for (let i = 0; i < 10; i++) {
      clock.advance(99);
      come(9);
    }
    expect(cells.connectionsTotal).toBe(1);
    clock.advance(200);
    come(9);
    expect(cells.connectionsTotal).toBe(2);
  });

  it('takes no datagram that cannot be answered: a port 0 would throw at the answer', async () => {
    await open();
    come(0);
    expect(cells.connectionsActive).toBe(0);
    expect(cells.rejectedTotal(REASONS.indexOf('bad-request'))).toBe(1);
    come(9);
    expect(cells.connectionsActive).toBe(1);
  });

  it.skipIf(process.platform !== 'linux')('leaves no socket behind where an address cannot be had', async () => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const before = descriptors();
    for (let i = 0; i < 10; i++) expect(await listen(sink.address().port)).toMatchObject({ code: 'EADDRINUSE' });
    expect(engine.binds).toEqual([]);
    await eventually(() => descriptors() < before + 5, { timeoutMs: 2_000 });
  });
});
