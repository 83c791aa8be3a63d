import type { OperationError } from '../base/errors.ts';
import { jittered, type Random } from '../base/random.ts';
import type { NacosBody } from '../stores/nacos/nacos-connection.ts';
import { NacosGrpc, type NacosGrpcOptions } from '../stores/nacos/nacos-grpc.ts';
import { instanceOf, serviceOf } from './nacos-instance.ts';
import type { NacosLink, NacosLinkEvents, NacosWanted } from './nacos-link.ts';
import type { NacosWatch } from './nacos-watch.ts';
import type { Registration, Suspicion } from './registry.ts';

/** Every service is subscribed anew this often: a push that was lost must not stay lost, and what holds is said again. */
const AGAIN_MS = 45_000;

/** After a refusal. */
const RETRY_MS = 5000;

/** Subscriptions under way together: after an outage there may be hundreds. */
const TOGETHER = 16;

/** Nacos 2 and later: subscriptions and registrations over one gRPC connection, which is also the lease of what is registered. */
export class NacosPush implements NacosLink {
  readonly #wanted: NacosWanted;
  readonly #events: NacosLinkEvents;
  readonly #random: Random;
  readonly #grpc: NacosGrpc;
  readonly #timers = new Map<NacosWatch, NodeJS.Timeout>();
  readonly #queue = new Map<NacosWatch, Suspicion | null>();
  /** Subscriptions under way. */
  #underWay = 0;
  /** The server was away, or another link knew it before: it may have begun anew. */
  #wasLost: boolean;
  #selvesTimer: NodeJS.Timeout | null = null;
  readonly #unregistered = new Set<Registration>();
  #closed = false;

  constructor(
    wanted: NacosWanted,
    grpc: Omit<NacosGrpcOptions, 'module' | 'events'>,
    events: NacosLinkEvents,
    wasLost: boolean,
  ) {
    this.#wasLost = wasLost;
    this.#wanted = wanted;
    this.#events = events;
    this.#random = grpc.random;
    this.#grpc = new NacosGrpc({
      ...grpc,
      module: 'naming',
      events: { connected: this.#connected, lost: this.#lost, push: this.#pushed },
    });
  }

  start(): void {
    this.#grpc.start();
  }

  ask(watch: NacosWatch): void {
    this.#enqueue(watch, null);
  }

  leave(watch: NacosWatch): void {
    this.#clearTimer(watch);
    this.#queue.delete(watch);
    // Another watch, with other tags or clusters, may want the same service.
    if (!this.#grpc.isConnected || this.#namesakes(watch.group, watch.name).length > 0) return;
    this.#grpc.request('SubscribeServiceRequest', this.#subscription(watch, false)).catch(() => {});
  }

  async register(self: Registration): Promise<void> {
    try {
      await this.#put(self, 'registerInstance');
    } catch (error) {
      if (!(error as OperationError).retryable) throw error;
      this.#unregistered.add(self);
      this.#retrySelves();
    }
  }

  async deregister(self: Registration): Promise<void> {
    this.#unregistered.delete(self);
    // Without the connection it is gone with it.
    if (this.#grpc.isConnected) await this.#put(self, 'deregisterInstance');
  }

  /** What it is by our connection goes with that; a successor's is of another one. */
  release(self: Registration): void {
    this.#unregistered.delete(self);
  }

  close(): void {
    this.#closed = true;
    for (const watch of [...this.#timers.keys()]) this.#clearTimer(watch);
    if (this.#selvesTimer !== null) clearTimeout(this.#selvesTimer);
    this.#queue.clear();
    this.#grpc.close();
  }

  readonly #connected = (): void => {
    const suspicion = this.#wasLost ? 'after-reconnect' : null;
    this.#wasLost = false;
    this.#events.reached();
    for (const self of this.#wanted.selves) this.#unregistered.add(self);
    void this.#putSelves();
    for (const watch of this.#wanted.watches) this.#enqueue(watch, suspicion);
  };

  readonly #lost = (error: OperationError): void => {
    this.#wasLost = true;
    this.#queue.clear();
    this.#events.lost(error);
  };

  readonly #pushed = (type: string, body: NacosBody): void => {
    if (type !== 'NotifySubscriberRequest') return;
    const info = body.serviceInfo as { name?: string; groupName?: string } | undefined;
    const name = info?.name ?? '';
    const [group, bare] = name.includes('@@') ? name.split('@@', 2) : [info?.groupName ?? '', name];
    // One that waits to be asked for after a reconnection keeps its suspicion: it is asked for in a moment.
    for (const watch of this.#namesakes(group, bare)) if (!this.#queue.has(watch)) watch.take(info, null);
  };

  #namesakes(group: string, name: string): NacosWatch[] {
    return [...this.#wanted.watches].filter((one) => !one.isClosed && one.group === group && one.name === name);
  }

  #enqueue(watch: NacosWatch, suspicion: Suspicion | null): void {
    this.#clearTimer(watch);
    if (!this.#grpc.isConnected) return;
    this.#queue.set(watch, suspicion ?? this.#queue.get(watch) ?? null);
    while (this.#underWay < TOGETHER && this.#queue.size > 0) void this.#subscribeNext();
  }

  async #subscribeNext(): Promise<void> {
    const [[watch, suspicion]] = this.#queue;
    this.#queue.delete(watch);
    this.#underWay++;
    let againMs = AGAIN_MS;
    try {
      const { serviceInfo } = await this.#grpc.request('SubscribeServiceRequest', this.#subscription(watch, true));
      if (!watch.isClosed) watch.take(serviceInfo, suspicion);
    } catch (error) {
      againMs = RETRY_MS;
      if (!watch.isClosed) watch.fail(error as OperationError);
    }
    this.#underWay--;
    if (this.#closed) return;
    if (!watch.isClosed && !this.#queue.has(watch)) this.#askAgain(watch, againMs, suspicion);
    if (this.#queue.size > 0) void this.#subscribeNext();
  }

  #askAgain(watch: NacosWatch, ms: number, suspicion: Suspicion | null): void {
    this.#clearTimer(watch);
    const isRetry = ms === RETRY_MS;
    const again = () => this.#enqueue(watch, isRetry ? suspicion : null);
    this.#timers.set(watch, setTimeout(again, jittered(this.#random, ms, 0.3)));
  }

  #clearTimer(watch: NacosWatch): void {
    clearTimeout(this.#timers.get(watch));
    this.#timers.delete(watch);
  }

  /** All clusters: a server keeps one subscription for a service and a connection, so each watch picks its own. */
  #subscription({ name, group }: NacosWatch, subscribe: boolean): NacosBody {
    const { namespace } = this.#wanted;
    return { namespace, serviceName: name, groupName: group, clusters: '', subscribe };
  }

  async #putSelves(): Promise<void> {
    for (const self of [...this.#unregistered]) {
      try {
        if (!this.#wanted.selves.has(self)) this.#unregistered.delete(self);
        else await this.#put(self, 'registerInstance');
      } catch {
        return this.#retrySelves();
      }
    }
  }

  #retrySelves(): void {
    if (this.#closed) return;
    if (this.#selvesTimer !== null) clearTimeout(this.#selvesTimer);
    this.#selvesTimer = setTimeout(() => void this.#putSelves(), this.#random() * RETRY_MS);
  }

  async #put(self: Registration, type: 'registerInstance' | 'deregisterInstance'): Promise<void> {
    const { namespace, group } = this.#wanted;
    const service = serviceOf(self, group);
    const names = { namespace, serviceName: service.name, groupName: service.group };
    await this.#grpc.request('InstanceRequest', { ...names, type, instance: instanceOf(self) });
    this.#unregistered.delete(self);
  }
}
