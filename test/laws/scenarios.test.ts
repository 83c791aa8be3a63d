import { describe, expect, it } from 'vitest';
import type { KindSettings } from '../../src/base/catalog.ts';
import type { Endpoint } from '../../src/endpoint/endpoint.ts';
import { ejectionOptions } from '../../src/health/ejection-options.ts';
import { schedulers } from '../../src/scheduling/catalog.ts';
import { type Behaviour, exponential, Simulation } from '../helpers/simulation.ts';

// The scenarios of bench/scenarios in virtual time: what the algorithm does, without the noise of a machine. Latencies lack what a proxy and its sockets add.
const RATE = 1200;
const healthy: Behaviour = { parallel: 1_000_000, serviceMs: exponential(4) };
const slow: Behaviour = { ...healthy, serviceMs: exponential(100) };
const silent: Behaviour = { ...healthy, serviceMs: () => Number.POSITIVE_INFINITY };
const FAULT_MS = 5000;
const WINDOW_MS = 8000;
const SEEDS = [1, 2, 3];

function poolOfFive(settings: KindSettings, seed: number): { simulation: Simulation; odd: Endpoint } {
  const simulation = new Simulation({
    seed,
    requestsPerSecond: RATE,
    timeoutMs: 2000,
    retries: 1,
    ejection: ejectionOptions.parse({}),
    schedule: (context) => schedulers.create(schedulers.schema().parse(settings), context),
  });
  const [odd] = Array.from({ length: 5 }, () => simulation.join(healthy));
  return { simulation, odd };
}

function run(simulation: Simulation, ms: number): void {
  simulation.run((ms / 1000) * RATE, 5000);
}

describe.each([...schedulers.kinds.keys()])('law of schedulers in virtual time: %s', (kind) => {
  it('loses no request, with the default ejection and one retry, when one of five never answers', () => {
    const { simulation, odd } = poolOfFive({ kind }, 1);
    simulation.at(FAULT_MS, () => simulation.behave(odd, silent));
    run(simulation, FAULT_MS + WINDOW_MS);
    expect(simulation.served.length).toBeGreaterThan(0.99 * (FAULT_MS + WINDOW_MS) * (RATE / 1000));
    expect(simulation.failures()).toBe(0);
  });
});

describe.each(SEEDS)('law of response-time in virtual time, seed %i', (seed) => {
  it('hides one endpoint of five that is 25 times slower, and gives it its share again when it recovers', () => {
    const { simulation, odd } = poolOfFive({ kind: 'response-time' }, seed);
    const recoveredMs = FAULT_MS + WINDOW_MS;
    simulation.at(FAULT_MS, () => simulation.behave(odd, slow));
    simulation.at(recoveredMs, () => simulation.behave(odd, healthy));
    run(simulation, recoveredMs + WINDOW_MS);
    expect(simulation.quantile(0.99, FAULT_MS, recoveredMs)).toBeLessThan(25);
    expect(simulation.quantile(0.999, FAULT_MS, recoveredMs)).toBeLessThan(110);
    expect(simulation.quantile(0.999, recoveredMs)).toBeLessThan(45);
    expect(simulation.share(odd, recoveredMs + 4000, recoveredMs + 5000)).toBeGreaterThan(0.75 / 5);
  });

  it('lets fewer than one request in a thousand wait for an endpoint of five that never answers', () => {
    const { simulation, odd } = poolOfFive({ kind: 'response-time' }, seed);
    simulation.at(FAULT_MS, () => simulation.behave(odd, silent));
    run(simulation, FAULT_MS + WINDOW_MS);
    expect(simulation.quantile(0.99, FAULT_MS)).toBeLessThan(22);
    expect(simulation.quantile(0.999, FAULT_MS)).toBeLessThan(55);
  });
});

describe('law of response-time in virtual time', () => {
  it('finds the fast ones among 500 whose speeds follow a zipf', () => {
    const { p50, p99 } = zipf('response-time', 1);
    const blind = zipf('weighted-round-robin', 1);
    expect(p50).toBeLessThan(blind.p50 / 8);
    expect(p99).toBeLessThan(blind.p99 * 0.8);
  });
});

function zipf(kind: string, seed: number): { readonly p50: number; readonly p99: number } {
  const simulation = new Simulation({
    seed,
    requestsPerSecond: RATE,
    schedule: (context) => schedulers.create(schedulers.schema().parse(kind), context),
  });
  Array.from({ length: 500 }, (_, i) => simulation.join({ parallel: 2, serviceMs: exponential(2 * (i + 1) ** 0.8) }));
  run(simulation, 13_000);
  return { p50: simulation.quantile(0.5, 5000), p99: simulation.quantile(0.99, 5000) };
}
