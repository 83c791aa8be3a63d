import { afterAll, describe, expect, it } from 'vitest';
import { seededRandom } from '../../../src/base/random.ts';
import type { Endpoint } from '../../../src/endpoint/endpoint.ts';
import { Outcome } from '../../../src/endpoint/outcome.ts';
import { ejectionOptions } from '../../../src/health/ejection-options.ts';
import { schedulers } from '../../../src/scheduling/catalog.ts';
import { type Behaviour, exponential, Simulation, type SimulationOptions } from '../../helpers/simulation.ts';

/** Ten endpoints that serve four requests at once in 10 ms on average: 4 000 requests/s at most. */
const ENDPOINTS = 10;
const FAIR = 1 / ENDPOINTS;
const REQUESTS = 100_000;
const healthy: Behaviour = { parallel: 4, serviceMs: exponential(10) };
const slow: Behaviour = { parallel: 4, serviceMs: exponential(250) };
const failsFast: Behaviour = { parallel: 4, serviceMs: () => 1, outcome: () => Outcome.SERVER_ERROR };
const silent: Behaviour = { parallel: 4, serviceMs: () => Number.POSITIVE_INFINITY };

/** What the simulations showed; printed at the end. */
const figures: string[] = [];
afterAll(() => console.log(figures.join('\n')));

function simulate(kind: string, load: number, options: Partial<SimulationOptions> = {}): Simulation {
  return new Simulation({
    seed: 20_260,
    requestsPerSecond: load * ENDPOINTS * 400,
    schedule: (context) => schedulers.create(schedulers.schema().parse(kind), context),
    ...options,
  });
}

function joinTen(simulation: Simulation, first: Behaviour = healthy): Endpoint[] {
  return Array.from({ length: ENDPOINTS }, (_, i) => simulation.join(i === 0 ? first : healthy));
}

function note(
  name: string,
  simulation: Simulation,
  endpoint: Endpoint,
  fromMs = 0,
  toMs = Number.POSITIVE_INFINITY,
): void {
  const share = ((simulation.share(endpoint, fromMs, toMs) / FAIR) * 100).toFixed(1);
  const [p50, p99] = [0.5, 0.99].map((quantile) => simulation.quantile(quantile, fromMs, toMs).toFixed(1));
  figures.push(`${name.padEnd(58)} p50 ${p50} ms  p99 ${p99} ms  odd one: ${share} % of its fair share`);
}

describe('simulated: response-time', { timeout: 120_000 }, () => {
  const healthyRuns = new Map<number, { simulation: Simulation; endpoints: Endpoint[]; p99: number }>();
  const allHealthy = (load: number) => {
    const known = healthyRuns.get(load);
    if (known !== undefined) return known;
    const simulation = simulate('response-time', load);
    const endpoints = joinTen(simulation);
    simulation.run(REQUESTS);
    note(`response-time, all healthy, load ${load}`, simulation, endpoints[0]);
    const run = { simulation, endpoints, p99: simulation.quantile(0.99) };
    healthyRuns.set(load, run);
    return run;
  };

  it.each([0.05, 0.7])('shares evenly among equals at a load of %d', (load) => {
    const { simulation, endpoints } = allHealthy(load);
    for (const endpoint of endpoints) {
      expect(simulation.share(endpoint) / FAIR).toBeGreaterThan(0.9);
      expect(simulation.share(endpoint) / FAIR).toBeLessThan(1.1);
    }
  });

  it.each([0.05, 0.7])('keeps p99 low beside an endpoint 25 times slower at a load of %d', (load) => {
    const { p99 } = allHealthy(load);
    const simulation = simulate('response-time', load);
    const [odd] = joinTen(simulation, slow);
    simulation.run(REQUESTS);
    note(`response-time, one 25 times slower, load ${load}`, simulation, odd);
    expect(simulation.share(odd)).toBeLessThan(0.06 * FAIR);
    expect(simulation.quantile(0.99)).toBeLessThan(1.3 * p99);
    const blind = simulate('random', load);
    const [blindOdd] = joinTen(blind, slow);
    blind.run(REQUESTS / 5);
    note(`  the same with random`, blind, blindOdd);
    expect(blind.quantile(0.99)).toBeGreaterThan(5 * simulation.quantile(0.99));
  });

  it.each([0.05, 0.5])(
    'gives less than a hundredth of the traffic to an endpoint that fails fast, without any ejection, at a load of %d',
    (load) => {
      const simulation = simulate('response-time', load, { retries: 1 });
      const [odd] = joinTen(simulation, failsFast);
      simulation.run(REQUESTS);
      note(`response-time, one fails in 1 ms, no ejection, load ${load}`, simulation, odd);
      expect(simulation.share(odd)).toBeLessThan(0.01);
      expect(simulation.failures()).toBe(0);
    },
  );

  it.each([0.05, 0.5])('hardly uses an endpoint that never answers, without any ejection, at a load of %d', (load) => {
    const simulation = simulate('response-time', load);
    const [odd] = joinTen(simulation, silent);
    simulation.run(REQUESTS, 6000);
    note(`response-time, one never answers, no ejection, load ${load}`, simulation, odd);
    expect(simulation.share(odd)).toBeLessThan(0.002);
    expect(
      simulation.attempts.filter((attempt) => attempt.startedMs < 1000 && attempt.endpoint.slot === odd.slot).length,
    ).toBeLessThan(12);
  });

  it.each([0.05, 0.5])('gives a recovered endpoint its fair share within 5 s at a load of %d', (load) => {
    for (const behaviour of [slow, failsFast]) {
      const simulation = simulate('response-time', load);
      const [odd] = joinTen(simulation, behaviour);
      simulation.at(15_000, () => simulation.behave(odd, healthy));
      simulation.run(load * ENDPOINTS * 400 * 30);
      note(
        `response-time, recovers (${behaviour === slow ? 'slow' : 'failing'}), next 5 s, load ${load}`,
        simulation,
        odd,
        15_000,
        20_000,
      );
      note(`  the 5 s after those`, simulation, odd, 20_000, 25_000);
      expect(simulation.share(odd, 10_000, 15_000) / FAIR).toBeLessThan(0.1);
      expect(simulation.share(odd, 20_000, 25_000) / FAIR).toBeGreaterThan(0.75);
      expect(simulation.share(odd, 20_000, 25_000) / FAIR).toBeLessThan(1.25);
    }
  });

  it.each([0.05, 0.5])(
    'does not flood an endpoint that joins cold, and gives it its share when warm, at a load of %d',
    (load) => {
      const warmUp: Behaviour = {
        parallel: 4,
        serviceMs: (random, nowMs) => exponential(nowMs < 13_000 ? 300 : 10)(random),
      };
      const simulation = simulate('response-time', load);
      joinTen(simulation);
      let cold: Endpoint | null = null;
      simulation.at(10_000, () => {
        cold = simulation.join(warmUp);
      });
      simulation.run(load * ENDPOINTS * 400 * 25);
      const joined = cold as unknown as Endpoint;
      note(`response-time, joins cold (300 ms for 3 s), load ${load}`, simulation, joined, 10_000, 13_000);
      note(`  the third to eighth second after it is warm`, simulation, joined, 16_000, 21_000);
      expect(simulation.share(joined, 10_000, 10_500) / FAIR).toBeLessThan(0.5);
      expect(simulation.share(joined, 10_000, 13_000) / FAIR).toBeLessThan(0.15);
      expect(simulation.share(joined, 16_000, 21_000) / FAIR).toBeGreaterThan(0.7);
      expect(simulation.quantile(0.99, 9_000, 14_000)).toBeLessThan(1.5 * simulation.quantile(0.99, 0, 9_000));
    },
  );

  it('stays balanced when all endpoints fail one request in a hundred', () => {
    const simulation = simulate('response-time', 0.5);
    const random = seededRandom(77);
    const faulty: Behaviour = { ...healthy, outcome: () => (random() < 0.01 ? Outcome.SERVER_ERROR : Outcome.OK) };
    const endpoints = Array.from({ length: ENDPOINTS }, () => simulation.join(faulty));
    simulation.run(REQUESTS);
    note('response-time, all fail 1 %, load 0.5', simulation, endpoints[0]);
    const { simulation: well } = allHealthy(0.5);
    for (const endpoint of endpoints) expect(simulation.share(endpoint) / FAIR).toBeGreaterThan(0.9);
    expect(simulation.peakActive).toBeLessThan(2 * well.peakActive);
    expect(simulation.quantile(0.99)).toBeLessThan(1.1 * well.quantile(0.99));
  });

  // Not exactly: a heavier endpoint answers more often and so shows more peaks.
  it('follows the weights at any load', () => {
    for (const load of [0.05, 0.5]) {
      const simulation = simulate('response-time', load);
      const endpoints = [4, 2, 1, 1, 1, 1].map((weight) =>
        simulation.join({ ...healthy, parallel: 4 * weight }, weight),
      );
      simulation.run(REQUESTS / 2);
      for (const endpoint of endpoints) {
        const got = (simulation.share(endpoint) * 10) / endpoint.weight;
        expect(got, `weight ${endpoint.weight} at load ${load}`).toBeGreaterThan(0.75);
        expect(got, `weight ${endpoint.weight} at load ${load}`).toBeLessThan(1.25);
      }
    }
  });

  it('learns across workers: four of them use a silent endpoint hardly more often than one', () => {
    const simulation = simulate('response-time', 0.3, { workers: 4 });
    const [odd] = joinTen(simulation, silent);
    simulation.run(REQUESTS / 2, 6000);
    expect(simulation.share(odd)).toBeLessThan(0.004);
  });
});

describe('simulated: ejection', { timeout: 120_000 }, () => {
  const ejection = ejectionOptions.parse({});

  it.each([...schedulers.kinds.keys()])(
    'ejects an endpoint that fails and takes it back when it is well: %s',
    (kind) => {
      // `first` serves everything from one endpoint of ten.
      const load = kind === 'first' ? 0.05 : 0.2;
      const simulation = simulate(kind, load, { ejection, workers: 2, retries: 1 });
      const endpoints = joinTen(simulation);
      simulation.at(10_000, () => simulation.behave(endpoints[0], failsFast));
      simulation.at(35_000, () => simulation.behave(endpoints[0], healthy));
      simulation.run(load * 400_000);
      note(`${kind} with ejection, failing for 25 s`, simulation, endpoints[0], 10_000, 35_000);
      expect(simulation.failures()).toBe(0);
      expect(simulation.ejected.every(({ endpoint }) => endpoint.slot === endpoints[0].slot)).toBe(true);
      // 10 s, then 20 s: out from 10 to 20, one failure, out until 40.
      expect(simulation.ejected.length).toBe(2);
      expect(simulation.share(endpoints[0], 10_500, 35_000) / FAIR).toBeLessThan(0.03);
      expect(simulation.share(endpoints[0], 46_000, 52_000) / FAIR).toBeGreaterThan(0.8);
      expect(simulation.words.ejected).toBe(0);
    },
  );

  it('ejects by success rate what fails every other request', () => {
    const random = seededRandom(3);
    const half: Behaviour = { ...healthy, outcome: () => (random() < 0.4 ? Outcome.SERVER_ERROR : Outcome.OK) };
    const simulation = simulate('random', 0.2, { ejection: { ...ejection, consecutiveFailures: null } });
    const [odd] = joinTen(simulation, half);
    simulation.run(6_000);
    expect(simulation.ejected.length).toBe(1);
    expect(simulation.ejected[0].endpoint.slot).toBe(odd.slot);
  });

  it('keeps half of a pool whose dependency is down, and never fewer', () => {
    const simulation = simulate('random', 0.2, { ejection });
    const endpoints = Array.from({ length: ENDPOINTS }, () => simulation.join(failsFast));
    simulation.at(5_000, () => expect(endpoints.filter((endpoint) => endpoint.down !== 0).length).toBe(5));
    simulation.run(8_000);
    expect(simulation.words.ejected).toBe(endpoints.filter((endpoint) => endpoint.down !== 0).length);
  });
});

describe('simulated: least-requests', { timeout: 120_000 }, () => {
  it.each([0.05, 0.5])(
    'shares evenly among equals and does not dump its traffic on one that joins, at a load of %d',
    (load) => {
      const simulation = simulate('least-requests', load);
      const endpoints = joinTen(simulation);
      let joined: Endpoint | null = null;
      simulation.at(10_000, () => {
        joined = simulation.join(healthy);
      });
      simulation.run(load * ENDPOINTS * 400 * 20);
      for (const endpoint of endpoints) expect(simulation.share(endpoint, 0, 10_000) / FAIR).toBeGreaterThan(0.85);
      expect(simulation.share(joined as unknown as Endpoint, 10_000, 11_000) / FAIR).toBeLessThan(1.5);
    },
  );

  it('gives a slow endpoint less, but not as little as response-time does', () => {
    const simulation = simulate('least-requests', 0.5);
    const [odd] = joinTen(simulation, slow);
    simulation.run(REQUESTS);
    note('least-requests, one 25 times slower, load 0.5', simulation, odd);
    expect(simulation.share(odd) / FAIR).toBeLessThan(0.2);
  });
});
