import { Backoff } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import { jittered, type Random } from '../base/random.ts';
import type { Answered } from '../stores/http-asker.ts';
import type { NacosHttp } from '../stores/nacos/nacos-http.ts';
import { metadataOf, serviceOf } from './nacos-instance.ts';
import type { NacosLink, NacosLinkEvents, NacosWanted } from './nacos-link.ts';
import type { NacosWatch } from './nacos-watch.ts';
import type { Registration } from './registry.ts';

/** Requests of a round under way together. */
const TOGETHER = 4;

/** A server that is away is asked at least this often: by one small request. */
const RETRY_MAX_MS = 5000;

/** The server dropped what we registered: it has to be told anew. */
const UNKNOWN = 20_404;

export interface NacosPollOptions {
  readonly http: NacosHttp;
  /** Between two rounds, in ms; changed by up to a fifth. */
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly random: Random;
}

/** Nacos over HTTP: every service asked for in rounds, registrations kept by heartbeats. For 1.x, and where gRPC does not get through. */
export class NacosPoll implements NacosLink {
  readonly #wanted: NacosWanted;
  readonly #options: NacosPollOptions;
  readonly #events: NacosLinkEvents;
  readonly #backoff: Backoff;
  readonly #beats = new Map<Registration, NodeJS.Timeout>();
  /** Heartbeats under way. */
  readonly #beating = new Map<Registration, Promise<void>>();
  readonly #cut = new AbortController();
  #timer: NodeJS.Timeout | null = null;
  #isAsking = false;
  /** Asked for while a round is under way. */
  #isDue = false;
  /** The server was away, or was never asked by this link: another may have begun anew. */
  #wasLost: boolean;

  constructor(wanted: NacosWanted, options: NacosPollOptions, events: NacosLinkEvents, wasLost: boolean) {
    this.#wanted = wanted;
    this.#options = options;
    this.#events = events;
    this.#wasLost = wasLost;
    this.#backoff = new Backoff(250, RETRY_MAX_MS, options.random);
  }

  start(): void {
    for (const self of this.#wanted.selves) this.#beatAfter(self, 0, false);
    this.#schedule(0);
  }

  ask(): void {
    if (this.#isAsking) this.#isDue = true;
    else this.#schedule(0);
  }

  leave(): void {
    // The next round does not ask for it.
  }

  async register(self: Registration): Promise<void> {
    try {
      await this.#put(self);
      this.#beatAfter(self, self.ttlMs / 3, true);
    } catch (error) {
      if (!(error as OperationError).retryable) throw error;
      this.#beatAfter(self, this.#options.random() * 1000, false);
    }
  }

  async deregister(self: Registration): Promise<void> {
    this.release(self);
    await this.#beating.get(self);
    const answered = await this.#ask('DELETE', '/v1/ns/instance', this.#instance(self));
    if (answered.status !== 200 && answered.status !== 404) throw refusal(answered, `deregister ${self.id}`);
  }

  /** No further heartbeat. */
  release(self: Registration): void {
    clearTimeout(this.#beats.get(self));
    this.#beats.delete(self);
  }

  close(): void {
    this.#cut.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const timer of this.#beats.values()) clearTimeout(timer);
    this.#beats.clear();
  }

  #schedule(ms: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = this.#cut.signal.aborted ? null : setTimeout(this.#round, ms);
  }

  readonly #round = async (): Promise<void> => {
    this.#isAsking = true;
    this.#isDue = false;
    const { intervalMs, random } = this.#options;
    let waitMs = jittered(random, intervalMs, 0.2);
    try {
      await this.#askAll(this.#wasLost);
      if (this.#cut.signal.aborted) return;
      this.#wasLost = false;
      this.#backoff.reset();
      this.#events.reached();
    } catch (error) {
      if (this.#cut.signal.aborted) return;
      this.#wasLost = true;
      waitMs = this.#backoff.next();
      for (const watch of this.#wanted.watches) watch.fail(error as OperationError);
      this.#events.lost(error as OperationError);
    }
    this.#isAsking = false;
    this.#schedule(this.#isDue ? 0 : waitMs);
  };

  /** Rejects at the first question the server does not answer at all. */
  async #askAll(wasLost: boolean): Promise<void> {
    const left = [...this.#wanted.watches];
    const askNext = async (): Promise<void> => {
      for (let watch = left.pop(); watch !== undefined; watch = left.pop()) await this.#askOne(watch, wasLost);
    };
    // With nothing to ask for, one question shows that the server is there.
    if (left.length === 0) await this.#list('DEFAULT_GROUP', 'evenkeel');
    await Promise.all(Array.from({ length: TOGETHER }, askNext));
  }

  async #askOne(watch: NacosWatch, wasLost: boolean): Promise<void> {
    const answered = await this.#list(watch.group, watch.name);
    if (this.#cut.signal.aborted || watch.isClosed) return;
    if (answered.status !== 200) return watch.fail(refusal(answered, `tell of ${watch.name}`));
    let body: unknown = null;
    try {
      body = JSON.parse(answered.body.toString());
    } catch {
      // null is no service either: the watch says so
    }
    watch.take(body, wasLost ? 'after-reconnect' : null);
  }

  #list(groupName: string, name: string): Promise<Answered> {
    const query = { serviceName: `${groupName}@@${name}`, groupName, healthyOnly: 'false' };
    return this.#ask('GET', '/v1/ns/instance/list', query);
  }

  #ask(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, query: Record<string, string>): Promise<Answered> {
    const { namespace } = this.#wanted;
    const withNamespace = { namespaceId: namespace, ...query };
    return this.#options.http.ask({ method, path, query: withNamespace, timeoutMs: 5000, signal: this.#cut.signal });
  }

  #instance(self: Registration): Record<string, string> {
    const { group, name } = serviceOf(self, this.#wanted.group);
    return {
      serviceName: `${group}@@${name}`,
      groupName: group,
      clusterName: 'DEFAULT',
      ip: self.host,
      port: String(self.port),
      ephemeral: 'true',
    };
  }

  async #put(self: Registration): Promise<void> {
    const answered = await this.#ask('POST', '/v1/ns/instance', {
      ...this.#instance(self),
      weight: String(self.weight),
      enabled: 'true',
      healthy: 'true',
      metadata: JSON.stringify(metadataOf(self)),
    });
    if (answered.status !== 200) throw refusal(answered, `register ${self.id}`);
  }

  #beatAfter(self: Registration, ms: number, isRegistered: boolean): void {
    clearTimeout(this.#beats.get(self));
    if (this.#cut.signal.aborted || !this.#wanted.selves.has(self)) return;
    this.#beats.set(
      self,
      setTimeout(() => this.#beating.set(self, this.#beat(self, isRegistered)), ms),
    );
  }

  async #beat(self: Registration, isRegistered: boolean): Promise<void> {
    let isKnown = false;
    try {
      if (isRegistered) isKnown = await this.#renew(self);
      if (!isKnown && this.#wanted.selves.has(self)) await this.#put(self);
      isKnown = true;
    } catch {
      // The next beat registers again.
      isKnown = false;
    }
    this.#beating.delete(self);
    this.#beatAfter(
      self,
      isKnown ? self.ttlMs / 3 : this.#options.random() * Math.min(RETRY_MAX_MS, self.ttlMs),
      isKnown,
    );
  }

  /** Whether the server still knows us. */
  async #renew(self: Registration): Promise<boolean> {
    const instance = this.#instance(self);
    const { ip, clusterName: cluster, serviceName } = instance;
    const told = {
      ip,
      cluster,
      serviceName,
      port: self.port,
      weight: self.weight,
      ephemeral: true,
      metadata: metadataOf(self),
    };
    const answered = await this.#ask('PUT', '/v1/ns/instance/beat', {
      ...instance,
      beat: JSON.stringify({ ...told, scheduled: true }),
    });
    if (answered.status !== 200) return false;
    try {
      return (JSON.parse(answered.body.toString()) as { code?: number }).code !== UNKNOWN;
    } catch {
      return true;
    }
  }
}

function refusal({ status, body, address }: Answered, act: string): OperationError {
  const why = `${status}: ${body.toString('utf8', 0, 200).trim() || 'no reason given'}`;
  return new OperationError('registry-error', `Nacos at ${address} does not ${act} (${why})`, {
    retryable: status === 429 || status >= 500,
  });
}
