import type { Clock } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { TimerWheel } from '../base/timer-wheel.ts';
import { Down } from '../endpoint/down.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { PoolWords } from '../endpoint/pool-words.ts';
import { probes } from '../health/catalog.ts';
import type { ProbeGate } from '../health/probe-gate.ts';
import type { ProbeOptions } from '../health/probe-options.ts';
import { NOT_CHECKED, ProbeRunner } from '../health/probe-runner.ts';
import { Flapping } from './flapping.ts';
import type { Member, MemberEvent } from './member.ts';
import type { PoolOptions } from './options.ts';

export interface MemberHealthContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly wheel: TimerWheel;
  readonly gate: ProbeGate;
  readonly words: PoolWords;
  /** All of the pool, by ID. */
  readonly members: ReadonlyMap<string, Member>;
  readonly onEvent: (event: MemberEvent) => void;
}

/**
 * What probes and the registry say of a pool's members, as down bits, and which of them damping holds down nevertheless. On main, one per pool; the
 * membership tells it who joins, leaves and changes.
 */
export class MemberHealth {
  readonly #context: MemberHealthContext;
  #options: PoolOptions;
  #probes: ProbeRunner | null;
  #flapping: Flapping | null;

  constructor(options: PoolOptions, context: MemberHealthContext) {
    this.#context = context;
    this.#options = options;
    this.#flapping = this.#makeFlapping();
    this.#probes = this.#makeProbes();
  }

  /** New options after a reload: probes start anew only when theirs changed. */
  configure(options: PoolOptions): void {
    const before = this.#options;
    this.#options = options;
    if (JSON.stringify(before.damping) !== JSON.stringify(options.damping)) this.#startDamping();
    if (JSON.stringify([before.probe, before.tls]) === JSON.stringify([options.probe, options.tls])) return;
    this.#probes?.close();
    this.#probes = this.#makeProbes();
    for (const member of this.#context.members.values()) {
      if ((member.endpoint.setDown(0, Down.PROBE) & Down.PROBE) !== 0) this.#context.words.bumpGeneration();
      this.begin(member);
    }
  }

  /** A member joined; `unfit` says why the process before this one found it so. */
  begin(member: Member, unfit: string | null = null): void {
    this.#probes?.add(member.endpoint, unfit);
  }

  /** It leaves. */
  end(endpoint: Endpoint): void {
    this.#probes?.remove(endpoint);
  }

  /** Called about once a second. */
  sweep(): void {
    this.#flapping?.sweep();
  }

  close(): void {
    this.#probes?.close();
  }

  /** What the registry says of the member, as its spec has it. */
  applyStatus(member: Member): void {
    const { endpoint, spec } = member;
    const { status } = spec;
    const want = status === 'down' ? Down.REGISTRY : status === 'draining' ? Down.DRAINING : 0;
    if (want === 0 && (endpoint.down & Down.REGISTRY) !== 0 && this.#flapping?.holds(member, 'registry') === true)
      return;
    const before = endpoint.setDown(want, (Down.REGISTRY | Down.DRAINING) & ~want);
    const had = before & (Down.REGISTRY | Down.DRAINING);
    if (had === want) return;
    if (want === 0) {
      endpoint.readySinceMs = this.#context.clock.now();
      if (member.downReason.startsWith('registry')) member.downReason = '';
    } else {
      member.downReason = `registry says ${status}`;
      if (want === Down.REGISTRY) this.#flapping?.wentDown(member);
    }
  }

  #onProbe(endpoint: Endpoint, fit: boolean, reason: string): void {
    const member = this.#context.members.get(endpoint.id);
    if (member === undefined || member.endpoint !== endpoint) return;
    if (fit) {
      if ((endpoint.down & Down.PROBE) !== 0 && this.#flapping?.holds(member, 'probe') !== true) this.#setFit(member);
      return;
    }
    const wasDown = (endpoint.setDown(Down.PROBE) & Down.PROBE) !== 0;
    member.downReason = `probe: ${reason}`;
    if (wasDown) return;
    this.#context.words.bumpGeneration();
    // A newcomer waits for its first check: that is no news about its health.
    if (reason === NOT_CHECKED) return;
    this.#context.onEvent({ kind: 'unfit', endpoint: endpoint.id, reason });
    this.#flapping?.wentDown(member);
  }

  #setFit(member: Member): void {
    const { endpoint } = member;
    if ((endpoint.setDown(0, Down.PROBE) & Down.PROBE) === 0) return;
    this.#context.words.bumpGeneration();
    endpoint.readySinceMs = this.#context.clock.now();
    if (member.downReason.startsWith('probe')) member.downReason = '';
    this.#context.onEvent({ kind: 'fit', endpoint: endpoint.id });
  }

  #unhold(member: Member): void {
    member.isHeld = false;
    if (this.#probes?.isFit(member.endpoint) === true) this.#setFit(member);
    this.applyStatus(member);
    this.#context.words.bumpGeneration();
  }

  /** Nobody is held any more: who goes up and down is counted from the beginning, or not at all. */
  #startDamping(): void {
    this.#flapping = this.#makeFlapping();
    for (const member of this.#context.members.values()) if (member.isHeld) this.#unhold(member);
  }

  #makeFlapping(): Flapping | null {
    const { damping } = this.#options;
    const { clock, members, onEvent } = this.#context;
    if (damping === null) return null;
    return new Flapping(damping, {
      clock,
      members,
      onFlapping: ({ id }, forMs) => onEvent({ kind: 'flapping', endpoint: id, forMs }),
      onReleased: (member) => this.#unhold(member),
    });
  }

  #makeProbes(): ProbeRunner | null {
    const { probe, tls } = this.#options;
    if (probe === null) return null;
    const { clock, random, wheel, gate } = this.#context;
    const onChange = (endpoint: Endpoint, fit: boolean, reason: string) => this.#onProbe(endpoint, fit, reason);
    const context = { clock, random, wheel, gate, onChange };
    return new ProbeRunner(probes.create(probe, { tls }), probe as unknown as ProbeOptions, context);
  }
}
