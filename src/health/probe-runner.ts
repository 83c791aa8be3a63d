import type { Clock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import { jittered, type Random } from '../base/random.ts';
import { type TimerWheel, WheelTimer } from '../base/timer-wheel.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import { Outcome } from '../endpoint/outcome.ts';
import type { Probe } from './probe.ts';
import type { ProbeGate } from './probe-gate.ts';
import type { ProbeOptions } from './probe-options.ts';

/** While an endpoint is on its way up or down it is checked this often, or five times an interval if that is more often. */
const CHANGING_MS = 1000;
const CHANGING_PART = 1 / 5;
const INTERVAL_JITTER = 0.2;
/** Why a newcomer is unfit. */
export const NOT_CHECKED = 'not checked yet';

export interface ProbeRunnerContext {
  readonly clock: Clock;
  readonly random: Random;
  /** Main's wheel: all endpoints of all pools hang in it, none has a timer of its own. */
  readonly wheel: TimerWheel;
  /** One for all pools. */
  readonly gate: ProbeGate;
  /** A verdict that differs from the one before; sets or clears Down.PROBE. `reason` is for log and API. Called on main, never after `remove` or `close`. */
  readonly onChange: (endpoint: Endpoint, fit: boolean, reason: string) => void;
}

/**
 * Checks the endpoints of one pool, on main. An endpoint starts as fit when no other of the pool has passed a check yet (a registry's
 * word is enough to begin with), otherwise as unfit (NOT_CHECKED) until it passes one. Until its first pass one check decides either way; from
 * then on `fall` failures in a row take it out and `rise` passes in a row bring it back.
 */
export class ProbeRunner {
  readonly #probe: Probe;
  readonly #options: ProbeOptions;
  readonly #context: ProbeRunnerContext;
  readonly #checked = new Map<Endpoint, CheckedEndpoint>();
  /** Those that passed a check at any time. */
  readonly #passed = new Set<Endpoint>();

  /** Without effects. */
  constructor(probe: Probe, options: ProbeOptions, context: ProbeRunnerContext) {
    this.#probe = probe;
    this.#options = options;
    this.#context = context;
  }

  /** Checks it soon (spread over one changing interval) and from then on; `unfit` says why an earlier process found it so. Adding it twice does nothing. */
  add(endpoint: Endpoint, unfit: string | null = null): void {
    if (this.#checked.has(endpoint)) return;
    const fit = this.#passed.size === 0 && unfit === null;
    const checked = new CheckedEndpoint(endpoint, fit, this.#passed, this.#probe, this.#options, this.#context);
    this.#checked.set(endpoint, checked);
    checked.start(this.#context.random());
    if (!fit) this.#context.onChange(endpoint, false, unfit ?? NOT_CHECKED);
  }

  /** The verdict as it stands; false for one that is not checked. */
  isFit(endpoint: Endpoint): boolean {
    return this.#checked.get(endpoint)?.isFit === true;
  }

  /** Stops checking it. Its down bit stays as it is. */
  remove(endpoint: Endpoint): void {
    this.#checked.get(endpoint)?.stop();
    this.#checked.delete(endpoint);
    this.#passed.delete(endpoint);
  }

  /** Ends all checks; no timer is left in the wheel. */
  close(): void {
    for (const checked of this.#checked.values()) checked.stop();
    this.#checked.clear();
    this.#passed.clear();
  }
}

/** The checks of one endpoint. Its one timer is either the next check or the deadline of the present one. */
class CheckedEndpoint {
  readonly #endpoint: Endpoint;
  /** The runner's: all endpoints that passed a check. */
  readonly #passed: Set<Endpoint>;
  readonly #probe: Probe;
  readonly #options: ProbeOptions;
  readonly #context: ProbeRunnerContext;
  readonly #timer = new WheelTimer(() => this.#onDue());
  readonly #enter = () => this.#check();
  #fit: boolean;
  /** Checks in a row that speak against the present verdict. */
  #contrary = 0;
  #abort: AbortController | null = null;
  #stopped = false;
  /** Good answers to requests when it was last looked. */
  #answers = 0;

  constructor(
    endpoint: Endpoint,
    fit: boolean,
    passed: Set<Endpoint>,
    probe: Probe,
    options: ProbeOptions,
    context: ProbeRunnerContext,
  ) {
    this.#endpoint = endpoint;
    this.#fit = fit;
    this.#passed = passed;
    this.#probe = probe;
    this.#options = options;
    this.#context = context;
  }

  get isFit(): boolean {
    return this.#fit;
  }

  start(part: number): void {
    this.#context.wheel.arm(this.#timer, part * this.#changingMs());
  }

  stop(): void {
    this.#stopped = true;
    this.#context.wheel.disarm(this.#timer);
    if (this.#abort !== null) this.#cut(this.#abort, new OperationError('PROBE_STOPPED', 'no longer checked'));
  }

  #onDue(): void {
    const abort = this.#abort;
    if (abort === null && this.#isProvenByTraffic()) return this.#context.wheel.arm(this.#timer, this.#nextMs());
    if (abort === null) return this.#context.gate.enter(this.#passed, this.#enter);
    // After a stall of our own the answer may lie unread in the socket: give the loop one turn to read it before the verdict.
    setImmediate(() => {
      if (this.#abort !== abort) return;
      this.#cut(
        abort,
        new OperationError('PROBE_TIMEOUT', `no answer in ${this.#options.timeout} ms`, { retryable: true }),
      );
      this.#judge(`no answer in ${this.#options.timeout} ms`);
    });
  }

  /** With `whileIdle`: requests were answered well since the last time, and nothing speaks against it. */
  #isProvenByTraffic(): boolean {
    if (!this.#options.whileIdle) return false;
    const before = this.#answers;
    this.#answers = this.#endpoint.outcomes(Outcome.OK);
    return this.#fit && this.#contrary === 0 && this.#answers > before && this.#passed.has(this.#endpoint);
  }

  /** The gate has room. False when it is no longer wanted. */
  #check(): boolean {
    if (this.#stopped) return false;
    const abort = new AbortController();
    this.#abort = abort;
    this.#context.wheel.arm(this.#timer, this.#options.timeout);
    const { host, port, metadata } = this.#endpoint.spec;
    // In a promise, so that a probe that throws instead of rejecting has failed a check and no more.
    new Promise<void>((resolve) => resolve(this.#probe.check({ host, port, metadata }, abort.signal))).then(
      () => this.#settle(abort, null),
      (error: unknown) => this.#settle(abort, error instanceof Error ? error.message : String(error)),
    );
    return true;
  }

  /** The probe has its result; too late when the deadline has passed. `failure` is the reason, null when it passed. */
  #settle(abort: AbortController, failure: string | null): void {
    if (this.#abort !== abort) return;
    this.#abort = null;
    this.#context.gate.leave();
    this.#judge(failure);
  }

  /** Ends a check whose result is not waited for. */
  #cut(abort: AbortController, reason: OperationError): void {
    this.#abort = null;
    abort.abort(reason);
    this.#context.gate.leave();
  }

  #judge(failure: string | null): void {
    if (failure === null) this.#pass();
    else this.#fail(failure);
    if (!this.#stopped) this.#context.wheel.arm(this.#timer, this.#nextMs());
  }

  #pass(): void {
    const needed = this.#passed.has(this.#endpoint) ? this.#options.rise : 1;
    this.#passed.add(this.#endpoint);
    this.#contrary = this.#fit ? 0 : this.#contrary + 1;
    if (this.#contrary >= needed) this.#change(true, 'passed');
  }

  #fail(reason: string): void {
    const needed = this.#passed.has(this.#endpoint) ? this.#options.fall : 1;
    this.#contrary = this.#fit ? this.#contrary + 1 : 0;
    if (this.#contrary >= needed) this.#change(false, reason);
  }

  #change(fit: boolean, reason: string): void {
    this.#fit = fit;
    this.#contrary = 0;
    this.#context.onChange(this.#endpoint, fit, reason);
  }

  #nextMs(): number {
    const plain = this.#contrary > 0 ? this.#changingMs() : this.#options.interval;
    return jittered(this.#context.random, plain, INTERVAL_JITTER);
  }

  #changingMs(): number {
    return Math.min(CHANGING_MS, this.#options.interval * CHANGING_PART);
  }
}
