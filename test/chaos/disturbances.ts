import type { Pair } from '../helpers/certificates.ts';
import { eventually } from '../helpers/eventually.ts';
import type { RunningProxy } from '../helpers/proxy.ts';
import type { ChaosOrigin } from './origin.ts';

export interface World {
  /** For the listener `secure`; null where no certificate can be made. */
  readonly pair: Pair | null;
  readonly proxy: RunningProxy;
  /** Restarted one after the other. */
  readonly web: readonly ChaosOrigin[];
  /** Drained, never restarted: what runs on them lasts. */
  readonly long: readonly ChaosOrigin[];
}

/** Counts of what was done; a disturbance that failed stands there with its reason. */
export type Done = Map<string, number>;

/** Something that is done again and again until it is over: told how often it was done. */
export type Disturbance = (world: World, done: Done, isOver: (what: string, done: number) => boolean) => Promise<void>;

/** The documents that reloads go through; number `i` differs from its neighbours in something each time. */
export function documentOf({ web, long, pair }: Omit<World, 'proxy'>, i: number, workers: number): object {
  const endpoints = (origins: readonly ChaosOrigin[]) => origins.map(({ address }) => ({ address }));
  const extra = i % 4 === 1;
  return {
    runtime: { workers: i % 6 === 5 ? 1 : workers, drain: '90s' },
    listeners: [
      {
        name: 'web',
        bind: '127.0.0.1:0',
        routes: [...(extra ? [{ match: { path: '/extra' }, pool: 'extra' }] : []), { pool: 'web' }],
      },
      ...(pair === null ? [] : [secure(pair)]),
      { name: 'long', bind: '127.0.0.1:0', pool: 'long' },
      ...(extra ? [{ name: 'extra', bind: '127.0.0.1:0', pool: 'extra' }] : []),
    ],
    pools: {
      web: { endpoints: endpoints(web), scheduler: i % 3 === 0 ? 'weighted-round-robin' : 'response-time' },
      long: { endpoints: endpoints(long), timeouts: { connect: `${1000 + (i % 5)}ms` } },
      ...(extra ? { extra: { endpoints: endpoints(web) } } : {}),
    },
  };
}

function secure({ certFile, keyFile }: Pair): object {
  const tls = { certificates: [{ cert: certFile, key: keyFile }] };
  return { name: 'secure', bind: '127.0.0.1:0', tls, pool: 'web' };
}

export function upgrades(everyMs: number): Disturbance {
  return async (world, done, isOver) => {
    await pause(everyMs / 3);
    await repeat(everyMs, 'upgrades', (one) => one.proxy.upgrade())(world, done, isOver);
  };
}

/** The loop of a worker is blocked for longer than it may be: it is told of, and replaced. */
export async function stall({ proxy }: World, done: Done): Promise<void> {
  const [stalled, died] = [proxy.events('worker-stalled').length, proxy.events('worker-died').length];
  proxy.fault('stall', 0, 20_000);
  await eventually(() => proxy.events('worker-died').length > died, { timeoutMs: 25_000 });
  count(done, 'stalls reported', proxy.events('worker-stalled').length - stalled);
  count(done, 'stalled workers replaced');
}

export function reloads(everyMs: number, workers: number): Disturbance {
  let i = 0;
  return repeat(everyMs, 'reloads', async (world) => {
    i++;
    await world.proxy.write(documentOf(world, i, workers));
    await world.proxy.api('/api/v1/reload', { method: 'POST' });
  });
}

export function restarts(everyMs: number): Disturbance {
  return async (world, done, isOver) => {
    while (!isOver('worker restarts', done.get('worker restarts') ?? 0)) {
      try {
        const { restarted } = await world.proxy.api('/api/v1/workers/restart', { method: 'POST' });
        count(done, 'worker restarts', restarted.length);
      } catch (error) {
        count(done, `worker restarts put off: ${/"message":"([^"]*)/.exec(String(error))?.[1] ?? error}`);
      }
      await pause(everyMs);
    }
  };
}

export function drains(everyMs: number): Disturbance {
  let i = 0;
  return repeat(everyMs, 'endpoint drains', async (world) => {
    const origin = world.long[i++ % world.long.length];
    await setState(world, 'long', origin, 'drain');
    await pause(everyMs / 2);
    await setState(world, 'long', origin, 'ready');
  });
}

/** As a deployment does: drained, empty, restarted, ready. */
export function rollingRestart(everyMs: number): Disturbance {
  let i = 0;
  return repeat(everyMs, 'endpoint restarts', async (world) => {
    const origin = world.web[i++ % world.web.length];
    await setState(world, 'web', origin, 'drain');
    while ((await world.proxy.endpoint('web', origin.address)).active > 0) await pause(20);
    await origin.stop();
    await origin.start();
    await setState(world, 'web', origin, 'ready');
  });
}

export function kills(everyMs: number, workers: number): Disturbance {
  let i = 0;
  return repeat(everyMs, 'worker kills', async (world) => world.proxy.fault('die', i++ % workers));
}

function setState({ proxy }: World, pool: string, { address }: ChaosOrigin, state: string): Promise<unknown> {
  return proxy.api(`/api/v1/pools/${pool}/endpoints/${address}`, { method: 'PATCH', body: { state } });
}

function repeat(everyMs: number, name: string, act: (world: World) => Promise<unknown>): Disturbance {
  return async (world, done, isOver) => {
    while (!isOver(name, done.get(name) ?? 0)) {
      try {
        await act(world);
        count(done, name);
      } catch (error) {
        count(done, `${name} failed: ${error instanceof Error ? error.message : error}`);
      }
      await pause(everyMs);
    }
  };
}

function count(done: Done, what: string, by = 1): void {
  done.set(what, (done.get(what) ?? 0) + by);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
