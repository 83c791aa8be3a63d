import { expect } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { startLoad } from '../helpers/load.ts';
import type { Origin } from '../helpers/origin.ts';
import { startProxy } from '../helpers/proxy.ts';

/** How long the server is gone; `EVENKEEL_OUTAGE_MS` makes it a minute. */
const OUTAGE_MS = Number(process.env.EVENKEEL_OUTAGE_MS ?? 1500);

/** A registry's server, real or not. */
export interface Outage {
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
}

/**
 * A whole evenkeel with two endpoints of a service (`load`) from a registry: the registry goes away under load and comes back, and no request is lost, none
 * refused. `settings` are the registry's; the endpoints are registered already.
 */
export async function expectNothingLostInAnOutage(
  server: Outage,
  settings: Record<string, unknown>,
  endpoints: readonly Origin[],
  service = 'load',
): Promise<void> {
  await using proxy = await startProxy({
    registries: { names: settings },
    listeners: [{ name: 'web', bind: '127.0.0.1:0', routes: [{ pool: 'web' }] }],
    pools: { web: { discover: { registry: 'names', service } } },
  });
  const up = () => proxy.metric('evenkeel_registry_up', { registry: 'names' });
  await using load = startLoad(proxy.port(), { connections: 4, pauseMs: 5 });
  await eventually(() => load.answered > 50);
  await server.goAway();
  const began = performance.now();
  await eventually(async () => (await up()) === 0, { timeoutMs: 15_000 });
  await eventually(() => performance.now() - began > OUTAGE_MS, { timeoutMs: OUTAGE_MS + 5000 });
  const before = load.answered;
  await server.comeBack();
  await eventually(async () => (await up()) === 1, { timeoutMs: 15_000 });
  await eventually(() => load.answered > before + 50);
  await load.stop();
  expect(load.lost).toEqual([]);
  expect([...load.statuses.keys()]).toEqual([200]);
  expect(endpoints.every(({ connections }) => connections > 0)).toBe(true);
  console.info(`${load.answered} requests, ${Math.round(performance.now() - began)} ms from the outage on, none lost`);
}
