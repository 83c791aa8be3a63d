import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/base/clock.ts';
import { seededRandom } from '../../../src/base/random.ts';
import { TimerWheel } from '../../../src/base/timer-wheel.ts';
import type { Endpoint } from '../../../src/endpoint/endpoint.ts';
import { Outcome } from '../../../src/endpoint/outcome.ts';
import type { Probe, ProbeTarget } from '../../../src/health/probe.ts';
import { ProbeGate } from '../../../src/health/probe-gate.ts';
import { type ProbeOptions, probeOptions } from '../../../src/health/probe-options.ts';
import { ProbeRunner } from '../../../src/health/probe-runner.ts';
import { EndpointFactory } from '../../helpers/endpoint-factory.ts';

const TICK_MS = 100;

/** Answers as the test says, by port; counts what runs. */
class ScriptedProbe implements Probe {
  readonly answers = new Map<number, 'pass' | 'fail' | 'silent' | 'throw'>();
  readonly checks: { port: number; atMs: number; signal: AbortSignal }[] = [];
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  check(target: ProbeTarget, signal: AbortSignal): Promise<void> {
    this.checks.push({ port: target.port, atMs: this.#clock.now(), signal });
    const answer = this.answers.get(target.port) ?? 'pass';
    if (answer === 'throw') throw new Error('thrown');
    if (answer === 'fail') return Promise.reject(new Error('refused'));
    return answer === 'silent' ? new Promise(() => {}) : Promise.resolve();
  }
}

describe('probe runner', () => {
  let clock: ManualClock;
  let wheel: TimerWheel;
  let gate: ProbeGate;
  let probe: ScriptedProbe;
  let changes: string[];
  let runner: ProbeRunner;
  let members: Endpoint[];
  const options: ProbeOptions = probeOptions.parse({});

  beforeEach(() => {
    clock = new ManualClock();
    wheel = new TimerWheel(TICK_MS);
    gate = new ProbeGate(64);
    probe = new ScriptedProbe(clock);
    changes = [];
    members = new EndpointFactory().many(4);
    runner = make(options);
  });

  afterEach(() => {
    runner.close();
    expect(gate.running).toBe(0);
  });

  function make(settings: ProbeOptions): ProbeRunner {
    return new ProbeRunner(probe, settings, {
      clock,
      random: seededRandom(6),
      wheel,
      gate,
      onChange: (endpoint, fit, reason) => changes.push(`${endpoint.spec.port} ${fit ? 'fit' : 'unfit'}: ${reason}`),
    });
  }

  /** Lets time pass, with the loop turning after every tick. */
  async function pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += TICK_MS) {
      clock.advance(TICK_MS);
      wheel.tick();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  function checksOf(endpoint: Endpoint) {
    return probe.checks.filter((check) => check.port === endpoint.spec.port);
  }

  it('starts every endpoint as fit while none has passed, checks each within a second and then about every interval', async () => {
    for (const endpoint of members) runner.add(endpoint);
    runner.add(members[0]);
    await pass(1200);
    for (const endpoint of members) expect(checksOf(endpoint).length).toBe(1);
    await pass(60_000);
    expect(changes).toEqual([]);
    for (const endpoint of members) {
      const times = checksOf(endpoint).map((check) => check.atMs);
      const gaps = times.slice(1).map((time, i) => time - times[i]);
      expect(Math.min(...gaps)).toBeGreaterThanOrEqual(4000);
      expect(Math.max(...gaps)).toBeLessThanOrEqual(6000 + 3 * TICK_MS);
      expect(new Set(gaps).size).toBeGreaterThan(3);
    }
  });

  it('keeps a later endpoint out until it has passed one check', async () => {
    runner.add(members[0]);
    await pass(1200);
    runner.add(members[1]);
    expect(changes).toEqual(['10002 unfit: not checked yet']);
    await pass(1200);
    expect(changes.slice(1)).toEqual(['10002 fit: passed']);
  });

  it('takes one out at its first check when that fails, and back at the first that passes', async () => {
    probe.answers.set(10_001, 'fail');
    runner.add(members[0]);
    await pass(1200);
    expect(changes).toEqual(['10001 unfit: refused']);
    probe.answers.set(10_001, 'pass');
    await pass(6500);
    expect(changes.slice(1)).toEqual(['10001 fit: passed']);
  });

  it('takes one out after 3 failures in a row and back after 2 passes in a row, checking every second in between', async () => {
    runner.add(members[0]);
    await pass(1200);
    probe.answers.set(10_001, 'fail');
    await pass(10_000);
    expect(changes).toEqual(['10001 unfit: refused']);
    const failed = probe.checks.slice(1, 4).map((check) => check.atMs);
    expect(failed[1] - failed[0]).toBeLessThanOrEqual(1200 + 3 * TICK_MS);
    expect(failed[2] - failed[1]).toBeLessThanOrEqual(1200 + 3 * TICK_MS);
    probe.answers.set(10_001, 'pass');
    const before = probe.checks.length;
    await pass(10_000);
    expect(changes.slice(1)).toEqual(['10001 fit: passed']);
    const passed = probe.checks.slice(before, before + 2).map((check) => check.atMs);
    expect(passed[1] - passed[0]).toBeLessThanOrEqual(1200 + 3 * TICK_MS);
  });

  it('forgives two failures followed by a pass', async () => {
    runner.add(members[0]);
    await pass(1200);
    for (let round = 0; round < 5; round++) {
      probe.answers.set(10_001, 'fail');
      const before = probe.checks.length;
      while (probe.checks.length < before + 2) await pass(TICK_MS);
      probe.answers.set(10_001, 'pass');
      while (probe.checks.length < before + 3) await pass(TICK_MS);
    }
    expect(changes).toEqual([]);
  });

  it('counts a check without an answer as failed at its timeout, and aborts it', async () => {
    probe.answers.set(10_001, 'silent');
    runner.add(members[0]);
    await pass(1000);
    expect(checksOf(members[0]).length).toBe(1);
    const { signal } = checksOf(members[0])[0];
    expect(signal.aborted).toBe(false);
    await pass(2400);
    expect(changes).toEqual(['10001 unfit: no answer in 2000 ms']);
    expect(signal.aborted).toBe(true);
    expect(gate.running).toBe(0);
  });

  it('does not blame an endpoint for a stall of our own: an answer that came meanwhile is read first', async () => {
    let answer = () => {};
    const slow: Probe = { check: () => new Promise<void>((resolve) => (answer = resolve)) };
    runner.close();
    runner = new ProbeRunner(slow, options, {
      clock,
      random: seededRandom(6),
      wheel,
      gate,
      onChange: (_endpoint, fit, reason) => changes.push(`${fit} ${reason}`),
    });
    runner.add(members[0]);
    await pass(1100);
    expect(gate.running).toBe(1);
    for (let i = 0; i < 50; i++) wheel.tick();
    answer();
    await pass(TICK_MS);
    expect(changes).toEqual([]);
  });

  it('takes a probe that throws for a failed check', async () => {
    probe.answers.set(10_001, 'throw');
    runner.add(members[0]);
    await pass(1200);
    expect(changes).toEqual(['10001 unfit: thrown']);
  });

  it('says nothing of an endpoint after it was removed, and aborts its check', async () => {
    probe.answers.set(10_001, 'silent');
    runner.add(members[0]);
    await pass(1200);
    runner.remove(members[0]);
    expect(probe.checks[0].signal.aborted).toBe(true);
    const before = probe.checks.length;
    await pass(10_000);
    expect(changes).toEqual([]);
    expect(probe.checks.length).toBe(before);
  });

  it('never runs more checks at once than the gate allows, over all pools, and forgets those removed while they waited', async () => {
    gate = new ProbeGate(3);
    const [first, second] = [make(options), make(options)];
    const many = new EndpointFactory().many(40);
    for (const endpoint of many) probe.answers.set(endpoint.spec.port, 'silent');
    for (const [i, endpoint] of many.entries()) (i % 2 === 0 ? first : second).add(endpoint);
    await pass(1200);
    expect(gate.running).toBe(3);
    expect(probe.checks.length).toBe(3);
    first.close();
    await pass(300);
    expect(gate.running).toBe(3);
    const ofSecond = new Set(many.filter((_, i) => i % 2 === 1).map((endpoint) => endpoint.spec.port));
    for (const check of probe.checks.filter((one) => !one.signal.aborted)) expect(ofSecond).toContain(check.port);
    second.close();
    expect(gate.running).toBe(0);
  });

  it('checks a small pool on time while another has more endpoints that do not answer than the gate lets in', async () => {
    const many = new EndpointFactory().many(402);
    const [large, small] = [many.slice(0, 400), many.slice(400)];
    for (const endpoint of large) probe.answers.set(endpoint.spec.port, 'silent');
    for (const endpoint of large) runner.add(endpoint);
    await pass(10_000);
    expect(gate.running).toBe(64);
    const other = make(options);
    for (const endpoint of small) other.add(endpoint);
    await pass(60_000);
    other.close();
    for (const endpoint of small) {
      const times = checksOf(endpoint).map((check) => check.atMs);
      const gaps = times.slice(1).map((time, i) => time - times[i]);
      expect(times.length).toBeGreaterThanOrEqual(9);
      // An interval with its jitter, and a timeout of somebody else's.
      expect(Math.max(...gaps)).toBeLessThanOrEqual(6000 + 2000 + 3 * TICK_MS);
    }
    expect(new Set(probe.checks.map(({ port }) => port)).size).toBe(402);
  });

  it('carries ten thousand endpoints: each is checked in its turn, and nothing is left in the wheel after close', async () => {
    const many = new EndpointFactory().many(10_000);
    for (const endpoint of many) runner.add(endpoint);
    await pass(1200);
    expect(new Set(probe.checks.map((check) => check.port)).size).toBe(10_000);
    await pass(6300);
    expect(probe.checks.length).toBeGreaterThanOrEqual(20_000);
    runner.close();
    const before = probe.checks.length;
    await pass(12_000);
    expect(probe.checks.length).toBe(before);
  });

  it('with whileIdle, checks nobody whose requests are answered well, and everybody else', async () => {
    runner = make(probeOptions.parse({ whileIdle: true, interval: '1s' }));
    for (const endpoint of members.slice(0, 2)) runner.add(endpoint);
    for (let i = 0; i < 100; i++) {
      clock.advance(TICK_MS);
      members[0].begin(clock.now());
      members[0].answered(clock.now());
      members[0].end(Outcome.OK, 1);
      wheel.tick();
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    const checks = (endpoint: Endpoint) => probe.checks.filter(({ port }) => port === endpoint.spec.port).length;
    expect(checks(members[0])).toBeLessThanOrEqual(2);
    expect(checks(members[1])).toBeGreaterThanOrEqual(7);
  });
});
