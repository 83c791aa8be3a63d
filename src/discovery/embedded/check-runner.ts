import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../../base/clock.ts';
import type { Random } from '../../base/random.ts';
import { Ring } from '../../base/ring.ts';
import { WheelTimer } from '../../base/timer-wheel.ts';
import type { CheckTargets } from './check-targets.ts';
import type { CheckObserver } from './journal.ts';
import { runNetworkCheck } from './network-check.ts';
import type { CheckPlan, CheckRecord, ServiceRecord } from './records.ts';
import type { RegistryState } from './registry-state.ts';
import type { Ticker } from './ticker.ts';

/** HTTP and TCP checks under way at the same time; others wait their turn. */
const MAX_RUNNING = 64;
const TTL_EXPIRED = 'TTL expired';

export interface CheckRunnerOptions {
  /** Consul looks for services to deregister every 30 s … */
  readonly reapIntervalMs: number;
  /** … and leaves none less time than 1 minute. */
  readonly minDeregisterAfterMs: number;
}

/** One check's plan at work. */
class Run {
  readonly check: CheckRecord;
  readonly plan: CheckPlan;
  readonly timer: WheelTimer;
  successes = 0;
  failures = 0;
  abort: AbortController | null = null;
  /** What the last heartbeat said. */
  lastOutput: string;

  constructor(check: CheckRecord, plan: CheckPlan, onDue: (run: Run) => void) {
    this.check = check;
    this.lastOutput = check.output.startsWith(TTL_EXPIRED) ? '' : check.output;
    this.plan = plan;
    this.timer = new WheelTimer(() => onDue(this));
  }
}

/** Lets TTLs run out, runs HTTP and TCP checks, and deregisters services that were critical for longer than they allow. */
export class CheckRunner implements CheckObserver {
  readonly #state: RegistryState;
  readonly #ticker: Ticker;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #targets: CheckTargets;
  readonly #options: CheckRunnerOptions;
  readonly #runs = new Map<CheckRecord, Run>();
  readonly #queue = new Ring<Run>();
  readonly #reaper: WheelTimer;
  readonly #onReap: (service: ServiceRecord, check: CheckRecord) => void;
  #running = 0;
  #closed = false;

  /** `onReap` is told of each service that is deregistered for being critical. */
  constructor(
    parts: { state: RegistryState; ticker: Ticker; clock: Clock; random: Random; targets: CheckTargets },
    options: CheckRunnerOptions,
    onReap: (service: ServiceRecord, check: CheckRecord) => void,
  ) {
    this.#state = parts.state;
    this.#ticker = parts.ticker;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#targets = parts.targets;
    this.#options = options;
    this.#onReap = onReap;
    this.#reaper = new WheelTimer(() => this.#reap());
    this.#ticker.arm(this.#reaper, options.reapIntervalMs);
  }

  planned(check: CheckRecord): void {
    const { plan } = check.spec;
    const present = this.#runs.get(check);
    // Clients that register again and again would otherwise put off a check that is run by interval for ever.
    if (present !== undefined && plan !== null && plan.kind !== 'ttl' && isDeepStrictEqual(present.plan, plan)) return;
    this.removed(check);
    if (plan === null) return;
    const run = new Run(check, plan, (due) => this.#due(due));
    this.#runs.set(check, run);
    this.#ticker.arm(run.timer, plan.kind === 'ttl' ? plan.ttlMs : this.#random() * plan.intervalMs);
  }

  removed(check: CheckRecord): void {
    const run = this.#runs.get(check);
    if (run === undefined) return;
    this.#runs.delete(check);
    this.#ticker.disarm(run.timer);
    run.abort?.abort();
  }

  /** A heartbeat of a TTL check: it has its full TTL again. */
  beat(check: CheckRecord, status: string, output: string): void {
    const run = this.#runs.get(check);
    if (run !== undefined) {
      run.lastOutput = output;
      this.#ticker.arm(run.timer, run.plan.ttlMs);
    }
    this.#state.setStatus(check, status, output);
  }

  close(): void {
    this.#closed = true;
    this.#ticker.disarm(this.#reaper);
    for (const check of [...this.#runs.keys()]) this.removed(check);
  }

  #due(run: Run): void {
    if (run.plan.kind === 'ttl') {
      const last = run.lastOutput;
      const output = last === '' ? TTL_EXPIRED : `${TTL_EXPIRED} (last output before timeout follows): ${last}`;
      this.#state.setStatus(run.check, 'critical', output);
      return;
    }
    if (this.#running >= MAX_RUNNING) this.#queue.push(run);
    else void this.#execute(run);
  }

  async #execute(run: Run): Promise<void> {
    this.#running++;
    run.abort = new AbortController();
    const registrant = run.check.node.address;
    const result = await runNetworkCheck(run.plan, registrant, this.#targets, run.abort.signal);
    run.abort = null;
    this.#running--;
    if (this.#closed) return;
    if (this.#runs.get(run.check) === run) {
      this.#report(run, result.status, result.output);
      this.#ticker.arm(run.timer, run.plan.intervalMs);
    }
    this.#startQueued();
  }

  #startQueued(): void {
    while (this.#running < MAX_RUNNING) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      if (this.#runs.get(next.check) === next) void this.#execute(next);
    }
  }

  /** A status counts after so many results in a row as the check asks for. */
  #report(run: Run, status: string, output: string): void {
    if (status === 'critical') {
      run.successes = 0;
      run.failures++;
      if (run.failures >= run.plan.failuresBeforeCritical) this.#state.setStatus(run.check, status, output);
      return;
    }
    run.failures = 0;
    run.successes++;
    if (run.successes >= run.plan.successBeforePassing) this.#state.setStatus(run.check, status, output);
  }

  #reap(): void {
    this.#ticker.arm(this.#reaper, this.#options.reapIntervalMs);
    const now = this.#clock.now();
    for (const { check, plan } of [...this.#runs.values()]) {
      const { service } = check;
      if (plan.deregisterAfterMs <= 0 || service === null || check.status !== 'critical') continue;
      const patience = Math.max(plan.deregisterAfterMs, this.#options.minDeregisterAfterMs);
      if (now - check.statusSinceMs <= patience) continue;
      // An earlier check of the same service may have taken it.
      if (service.node.services.get(service.spec.id) !== service) continue;
      this.#onReap(service, check);
      this.#state.removeService(service);
    }
  }
}
