import { ManualClock } from '../../src/base/clock.ts';
import { type Random, seededRandom } from '../../src/base/random.ts';
import type { Endpoint } from '../../src/endpoint/endpoint.ts';
import { Tried } from '../../src/endpoint/endpoint-set.ts';
import { isFailure, Outcome } from '../../src/endpoint/outcome.ts';
import { PoolWords } from '../../src/endpoint/pool-words.ts';
import { selectAvailable } from '../../src/health/availability.ts';
import { Ejection } from '../../src/health/ejection.ts';
import type { EjectionOptions } from '../../src/health/ejection-options.ts';
import { EjectionRestorer } from '../../src/health/ejection-restorer.ts';
import { OutlierDetector } from '../../src/health/outlier-detector.ts';
import { Trials } from '../../src/health/trials.ts';
import type { Scheduler, SchedulerContext } from '../../src/scheduling/scheduler.ts';
import { EndpointFactory } from './endpoint-factory.ts';

/** How an endpoint serves: at most `parallel` requests at once, the others wait in line. */
export interface Behaviour {
  readonly parallel: number;
  /** Time of service in ms, Infinity for never. */
  readonly serviceMs: (random: Random, nowMs: number) => number;
  readonly outcome?: (random: Random, nowMs: number) => Outcome;
}

/** Exponential service times around a mean. */
export function exponential(meanMs: number): (random: Random) => number {
  return (random) => -Math.log(1 - random()) * meanMs;
}

/** Service times of mostly the same length: `meanMs` ± 30 %. */
export function steady(meanMs: number): (random: Random) => number {
  return (random) => meanMs * (0.7 + 0.6 * random());
}

export interface SimulationOptions {
  readonly seed: number;
  readonly requestsPerSecond: number;
  readonly schedule: (context: SchedulerContext) => Scheduler;
  /** An attempt without an answer ends as TIMED_OUT after this. */
  readonly timeoutMs?: number;
  /** Attempts beyond the first. */
  readonly retries?: number;
  readonly ejection?: EjectionOptions;
  /** Workers whose schedulers share the endpoints; requests go to them in turn. */
  readonly workers?: number;
}

interface SimulatedRequest {
  readonly arrivedMs: number;
  readonly worker: number;
  readonly tried: Tried;
  attempts: number;
}

/** What came of one request. */
export interface Served {
  readonly arrivedMs: number;
  readonly totalMs: number;
  readonly failed: boolean;
}

/** One attempt at one endpoint. */
export interface Attempt {
  readonly endpoint: Endpoint;
  readonly startedMs: number;
}

/** A place in an endpoint's line. */
interface Job {
  readonly serve: () => void;
}

class Station {
  behaviour: Behaviour;
  busy = 0;
  readonly line: Job[] = [];

  constructor(behaviour: Behaviour) {
    this.behaviour = behaviour;
  }
}

/**
 * A pool under Poisson arrivals in virtual time: real endpoints, schedulers, availability and ejection, one ManualClock, one seed. Same seed, same
 * run. Times are ms since the start.
 */
export class Simulation {
  readonly clock = new ManualClock();
  readonly random: Random;
  readonly words: PoolWords;
  readonly attempts: Attempt[] = [];
  readonly served: Served[] = [];
  readonly ejected: { endpoint: Endpoint; atMs: number }[] = [];
  /** Highest number in flight at one endpoint at any time. */
  peakActive = 0;
  readonly #options: SimulationOptions;
  readonly #startMs: number;
  readonly #events = new EventHeap();
  readonly #factories: EndpointFactory[];
  readonly #stations = new Map<number, Station>();
  readonly #members: Endpoint[][];
  readonly #schedulers: Scheduler[];
  readonly #ejections: (Ejection | null)[];
  readonly #restorer: EjectionRestorer | null;
  readonly #detector: OutlierDetector | null;
  readonly #trials: Trials[];
  readonly #generations: number[];
  #next = 0;

  constructor(options: SimulationOptions) {
    const workers = options.workers ?? 1;
    this.#options = options;
    this.#startMs = this.clock.now();
    this.random = seededRandom(options.seed);
    this.words = new PoolWords(workers + 1);
    const base = new EndpointFactory(workers + 1, 0);
    this.#factories = [base];
    this.#members = Array.from({ length: workers + 1 }, () => []);
    this.#generations = new Array(workers).fill(-1);
    const { clock, random, words } = this;
    this.#schedulers = Array.from({ length: workers }, (_, worker) =>
      options.schedule({ clock, random, worker, workers }),
    );
    const { ejection } = options;
    this.#ejections = this.#schedulers.map(() =>
      ejection === undefined
        ? null
        : new Ejection(ejection, {
            clock,
            random,
            words,
            onEjected: (endpoint) => this.ejected.push({ endpoint, atMs: this.nowMs }),
          }),
    );
    this.#restorer =
      ejection === undefined
        ? null
        : new EjectionRestorer(ejection, {
            clock,
            random,
            words,
            onRestored: () => {},
            onEjected: (endpoint) => this.ejected.push({ endpoint, atMs: this.nowMs }),
          });
    const onEjected = (endpoint: Endpoint) => this.ejected.push({ endpoint, atMs: this.nowMs });
    this.#detector = ejection === undefined ? null : new OutlierDetector(ejection, { clock, random, words, onEjected });
    this.#trials = this.#schedulers.map(() => new Trials());
    if (this.#restorer !== null) this.#sweep();
  }

  get nowMs(): number {
    return this.clock.now() - this.#startMs;
  }

  /** Adds an endpoint. What is returned is main's view; workers have their own. */
  join(behaviour: Behaviour, weight = 1): Endpoint {
    const main = this.#factories[0].make({ weight });
    this.#members[0].push(main);
    for (let row = 1; row < this.#members.length; row++)
      this.#members[row].push(this.#factories[0].view(main.slot, { weight }, row));
    this.#stations.set(main.slot, new Station(behaviour));
    this.#generations.fill(-1);
    return main;
  }

  /** From now on the endpoint behaves so. */
  behave(endpoint: Endpoint, behaviour: Behaviour): void {
    (this.#stations.get(endpoint.slot) as Station).behaviour = behaviour;
  }

  /** Calls `act` at a time to come. */
  at(ms: number, act: () => void): void {
    this.#events.push(this.#startMs + ms, act);
  }

  /** Lets so many requests arrive and time go on until `ms` after the last. */
  run(requests: number, afterMs = 0): void {
    this.#arrive(requests, afterMs);
    for (;;) {
      const event = this.#events.pop();
      if (event === null) return;
      this.clock.advance(event.atMs - this.clock.now());
      if (event.act === null) return;
      event.act();
    }
  }

  /** Share of all attempts in a span of time that went to an endpoint. */
  share(endpoint: Endpoint, fromMs = 0, toMs = Number.POSITIVE_INFINITY): number {
    const within = this.attempts.filter((attempt) => attempt.startedMs >= fromMs && attempt.startedMs < toMs);
    return within.filter((attempt) => attempt.endpoint.slot === endpoint.slot).length / within.length;
  }

  /** Quantile of the requests' total time, of those that arrived in a span of time. */
  quantile(quantile: number, fromMs = 0, toMs = Number.POSITIVE_INFINITY): number {
    const times = this.served
      .filter((one) => one.arrivedMs >= fromMs && one.arrivedMs < toMs)
      .map((one) => one.totalMs)
      .sort((a, b) => a - b);
    return times[Math.min(times.length - 1, Math.floor(quantile * times.length))];
  }

  failures(fromMs = 0): number {
    return this.served.filter((one) => one.failed && one.arrivedMs >= fromMs).length;
  }

  #sweep(): void {
    this.#restorer?.sweep(this.#members[0]);
    this.#detector?.sweep(this.#members[0]);
    this.#events.push(this.clock.now() + 100, () => this.#sweep());
  }

  #arrive(left: number, afterMs: number): void {
    if (left === 0) {
      this.#events.push(this.clock.now() + afterMs, null);
      return;
    }
    const gapMs = (-Math.log(1 - this.random()) * 1000) / this.#options.requestsPerSecond;
    this.#events.push(this.clock.now() + gapMs, () => {
      this.#next = (this.#next + 1) % this.#schedulers.length;
      this.#attempt({ arrivedMs: this.nowMs, worker: this.#next, tried: new Tried(), attempts: 0 });
      this.#arrive(left - 1, afterMs);
    });
  }

  #attempt(request: SimulatedRequest): void {
    const { worker } = request;
    if (this.#generations[worker] !== this.words.generation) this.#refilter(worker);
    const scheduler = this.#schedulers[worker];
    const trial = request.tried.size === 0 ? this.#trials[worker].take(this.clock.now(), true) : null;
    const endpoint = trial ?? scheduler.pick(0, request.tried);
    if (endpoint === null) {
      this.served.push({ arrivedMs: request.arrivedMs, totalMs: this.nowMs - request.arrivedMs, failed: true });
      return;
    }
    request.attempts++;
    const startedMs = this.clock.now();
    this.attempts.push({ endpoint, startedMs: this.nowMs });
    endpoint.begin(startedMs);
    if (endpoint.active > this.peakActive) this.peakActive = endpoint.active;
    scheduler.onAcquire?.(endpoint);
    let over = false;
    const finish = (outcome: Outcome) => {
      if (over) return;
      over = true;
      this.#finish(request, endpoint, startedMs, outcome);
    };
    this.#events.push(startedMs + (this.#options.timeoutMs ?? 5000), () => finish(Outcome.TIMED_OUT));
    this.#enter(this.#stations.get(endpoint.slot) as Station, finish);
  }

  #refilter(worker: number): void {
    this.#generations[worker] = this.words.generation;
    const all = [...this.#members[worker + 1]];
    const { available } = selectAvailable(all, { panicThreshold: 0.5 });
    this.#ejections[worker]?.update(all);
    this.#trials[worker].update(all);
    this.#schedulers[worker].update({ version: 1, all, available });
  }

  #enter(station: Station, finish: (outcome: Outcome) => void): void {
    const serve = () => {
      station.busy++;
      const { serviceMs, outcome } = station.behaviour;
      const ms = serviceMs(this.random, this.nowMs);
      const result = outcome?.(this.random, this.nowMs) ?? Outcome.OK;
      if (ms === Number.POSITIVE_INFINITY) return;
      this.#events.push(this.clock.now() + ms, () => {
        station.busy--;
        finish(result);
        station.line.shift()?.serve();
      });
    };
    if (station.busy < station.behaviour.parallel) serve();
    else station.line.push({ serve });
  }

  #finish(request: SimulatedRequest, endpoint: Endpoint, startedMs: number, outcome: Outcome): void {
    const scheduler = this.#schedulers[request.worker];
    const latencyMs = this.clock.now() - startedMs;
    endpoint.answered(startedMs);
    scheduler.onAnswer?.(endpoint, outcome, latencyMs);
    this.#trials[request.worker].end(endpoint, outcome, startedMs);
    this.#ejections[request.worker]?.onAnswer(endpoint, outcome);
    endpoint.end(outcome, latencyMs);
    scheduler.onRelease?.(endpoint, outcome, latencyMs);
    const failed = isFailure(outcome);
    if (failed && request.attempts <= (this.#options.retries ?? 0)) {
      request.tried.add(endpoint);
      this.#attempt(request);
      return;
    }
    this.served.push({ arrivedMs: request.arrivedMs, totalMs: this.nowMs - request.arrivedMs, failed });
  }
}

interface Event {
  readonly atMs: number;
  readonly order: number;
  /** null ends the run. */
  readonly act: (() => void) | null;
}

/** A binary heap by time, then by order of arrival. */
class EventHeap {
  readonly #heap: Event[] = [];
  #pushed = 0;

  push(atMs: number, act: (() => void) | null): void {
    const heap = this.#heap;
    const event: Event = { atMs, order: this.#pushed++, act };
    let place = heap.push(event) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!isEarlier(event, heap[parent])) break;
      heap[place] = heap[parent];
      place = parent;
    }
    heap[place] = event;
  }

  pop(): Event | null {
    const heap = this.#heap;
    if (heap.length === 0) return null;
    const first = heap[0];
    const last = heap.pop() as Event;
    if (heap.length === 0) return first;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isEarlier(heap[child + 1], heap[child])) child++;
      if (!isEarlier(heap[child], last)) break;
      heap[place] = heap[child];
      place = child;
    }
    heap[place] = last;
    return first;
  }
}

function isEarlier(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
