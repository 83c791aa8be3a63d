import { beforeEach, describe, expect, it } from 'vitest';
import type { Endpoint } from '../../../src/endpoint/endpoint.ts';
import { Outcome } from '../../../src/endpoint/outcome.ts';
import { LatencyEstimates } from '../../../src/scheduling/latency-estimates.ts';
import { EndpointFactory, setOf } from '../../helpers/endpoint-factory.ts';

describe('latency estimates', () => {
  let now: number;
  let estimates: LatencyEstimates;
  let members: Endpoint[];

  beforeEach(() => {
    now = 1_000_000;
    estimates = new LatencyEstimates(10_000);
    members = new EndpointFactory().many(5);
    estimates.update(setOf(members), now);
  });

  function answer(endpoint: Endpoint, latencyMs: number, outcome: Outcome = Outcome.OK): void {
    estimates.observe(endpoint, outcome, latencyMs, now);
  }

  function learnAll(latencyMs: number): void {
    for (let i = 0; i < 200; i++) {
      now += 50;
      for (const endpoint of members) answer(endpoint, latencyMs);
    }
    now += 1000;
    estimates.refresh(now);
  }

  it('takes a newcomer for the median of the pool, and a whole new pool for 30 ms', () => {
    expect(estimates.latencyMs(members[0], now)).toBe(30);
    for (const [i, latencyMs] of [5, 6, 7, 400].entries()) members[i].setLatency(latencyMs, now);
    estimates.update(setOf(members), now);
    expect(estimates.latencyMs(members[4], now)).toBe(6);
  });

  it('jumps up at once and comes down in steps', () => {
    learnAll(10);
    answer(members[0], 250);
    expect(estimates.latencyMs(members[0], now)).toBe(250);
    now += 10;
    answer(members[0], 10);
    expect(estimates.latencyMs(members[0], now)).toBeGreaterThan(200);
    now += 5000;
    const before = estimates.latencyMs(members[0], now);
    answer(members[0], 10);
    expect(estimates.latencyMs(members[0], now)).toBeCloseTo(Math.sqrt(before * 10), 5);
  });

  it('is level again within 5 s of answers that are fast again', () => {
    learnAll(10);
    answer(members[0], 250);
    for (let i = 0; i < 50; i++) {
      now += 50;
      answer(members[0], 10);
    }
    expect(estimates.latencyMs(members[0], now)).toBeLessThan(12.5);
  });

  it('drifts to the median while idle, from above and from below, never to 0', () => {
    learnAll(10);
    answer(members[0], 250);
    now += 10_000;
    expect(estimates.latencyMs(members[0], now)).toBeCloseTo(10 + 240 / Math.E, 0);
    now += 600_000;
    for (const endpoint of members) expect(estimates.latencyMs(endpoint, now)).toBeCloseTo(10, 1);
  });

  it('never rewards a failure for being fast', () => {
    learnAll(10);
    for (let i = 0; i < 2; i++) {
      answer(members[0], 0.1, Outcome.CONNECT_FAILED);
      expect(estimates.latencyMs(members[0], now)).toBeGreaterThanOrEqual(9.99);
    }
  });

  it('takes an endpoint that fails three times in a row for at least 5 s', () => {
    learnAll(10);
    for (let i = 0; i < 3; i++) answer(members[0], 1, Outcome.SERVER_ERROR);
    expect(estimates.latencyMs(members[0], now)).toBe(5000);
    members[0].setLatency(9000, now);
    answer(members[0], 1, Outcome.SERVER_ERROR);
    expect(estimates.latencyMs(members[0], now)).toBe(9000);
  });

  it('penalises one that fails every other time, but not one that fails as often as all', () => {
    learnAll(10);
    for (let i = 0; i < 60; i++) {
      now += 20;
      answer(members[0], 1, i % 2 === 0 ? Outcome.RESET : Outcome.OK);
      for (const other of members.slice(1)) answer(other, 10);
    }
    expect(estimates.latencyMs(members[0], now)).toBeGreaterThan(50);
    const alike = new LatencyEstimates(10_000);
    const pool = new EndpointFactory().many(5);
    alike.update(setOf(pool), now);
    for (let i = 0; i < 600; i++) {
      now += 20;
      for (const [k, endpoint] of pool.entries())
        alike.observe(endpoint, (i + k) % 2 === 0 ? Outcome.SERVER_ERROR : Outcome.OK, 10, now);
    }
    for (const endpoint of pool) expect(alike.latencyMs(endpoint, now)).toBeLessThan(50);
  });

  it('lets a client that left raise an estimate, never lower it, and never counts it as a failure', () => {
    learnAll(10);
    for (let i = 0; i < 9; i++) answer(members[0], 1, Outcome.CLIENT_GONE);
    expect(estimates.latencyMs(members[0], now)).toBeCloseTo(10, 1);
    answer(members[0], 700, Outcome.CLIENT_GONE);
    expect(estimates.latencyMs(members[0], now)).toBe(709);
  });

  it('adds up what was waited in vain until the endpoint answers', () => {
    learnAll(10);
    for (let i = 0; i < 50; i++) answer(members[0], 16, Outcome.CLIENT_GONE);
    expect(estimates.latencyMs(members[0], now)).toBe(800);
    for (let i = 0; i < 50; i++) {
      answer(members[1], 16, Outcome.CLIENT_GONE);
      answer(members[1], 10);
    }
    expect(estimates.latencyMs(members[1], now)).toBeLessThan(20);
  });

  it('sees a stall before anything returns', () => {
    learnAll(10);
    members[0].begin(now);
    now += 800;
    expect(estimates.latencyMs(members[0], now)).toBeCloseTo(800, 5);
    members[0].answered(now - 800);
    expect(estimates.latencyMs(members[0], now)).toBeLessThan(11);
  });

  it('takes the median of ten thousand endpoints from a sample', () => {
    const many = new EndpointFactory().many(10_000);
    for (const [i, endpoint] of many.entries()) endpoint.setLatency(((i * 7919) % 10_000) / 100, now);
    estimates.update(setOf(many), now);
    expect(estimates.medianMs).toBeGreaterThan(40);
    expect(estimates.medianMs).toBeLessThan(60);
  });
});
