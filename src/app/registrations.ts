import { Backoff } from '../base/backoff.ts';
import { OperationError } from '../base/errors.ts';
import { formatHostPort, parseHostPort } from '../base/literals.ts';
import type { Random } from '../base/random.ts';
import type { Registered, Registration, Registry, RegistryContext } from '../discovery/registry.ts';
import type { ListenerOptions } from '../listener/options.ts';

/** A registry that refuses, or that cannot be asked, is asked again: after 1 s at first, then up to so much later. */
const RETRY_MAX_MS = 30_000;
/** A registry that does not answer may not hold up a shutdown. */
const LEAVE_MS = 2000;

export interface RegistrationsContext {
  readonly random: Random;
  readonly log: RegistryContext['log'];
  /** A running registry by its name in the document; null when there is none. */
  readonly registry: (name: string) => Registry | null;
  /** The first address a listener is bound to, as `host:port`. */
  readonly addressOf: (listener: string) => string;
}

/** The listeners of this process in the registries that should know of them: registered when they serve, moved by reloads, gone first when they end. */
export class Registrations {
  readonly #context: RegistrationsContext;
  /** By registry and what it is told. */
  readonly #kept = new Map<string, Kept>();
  #hasLeft = false;

  constructor(context: RegistrationsContext) {
    this.#context = context;
  }

  /** Registers what is new and takes back what the document names no more. Returns at once: a registry that is away holds nothing up. */
  configure(listeners: readonly ListenerOptions[]): void {
    if (this.#hasLeft) return;
    const wanted = new Map<string, Kept>();
    for (const { name, register } of listeners) {
      for (const { registry: registryName, address, ttl: ttlMs, ...rest } of register) {
        const { host, port } = parseHostPort(address ?? this.#context.addressOf(name))!;
        const id = rest.id ?? `${rest.service}-${host}-${port}`;
        const self = { ...rest, id, host, port, ttlMs };
        const registry = this.#context.registry(registryName);
        const key = JSON.stringify([registryName, self]);
        const known = this.#kept.get(key);
        if (registry === null) continue;
        wanted.set(key, known?.isOf(registry) ? known : new Kept(registryName, registry, self, this.#context));
      }
    }
    const before = new Map(this.#kept);
    this.#kept.clear();
    for (const [key, one] of wanted) this.#kept.set(key, one);
    const leaving = [...before.values()].filter((one) => !this.#has(one));
    // Of one ID the old goes before the new comes, else it would take the new one with it.
    const left = Promise.all(leaving.map((one) => one.leave()));
    for (const one of wanted.values()) one.start(leaving.some((other) => other.isSameAs(one)) ? left : null);
  }

  /** Takes back what these registries were told, before they are closed. Resolves after two seconds at the latest. */
  async leaveThese(registries: readonly string[]): Promise<void> {
    const leaving = [...this.#kept].filter(([, { registryName }]) => registries.includes(registryName));
    for (const [key] of leaving) this.#kept.delete(key);
    await Promise.all(leaving.map(([, one]) => one.leave()));
  }

  /** Takes everything back, for good. Resolves after two seconds at the latest. */
  async leave(): Promise<void> {
    this.#hasLeft = true;
    const leaving = [...this.#kept.values()];
    this.#kept.clear();
    await Promise.all(leaving.map((one) => one.leave()));
  }

  /** Another process is registered under the same IDs: keeps nothing up any more, and takes nothing back. */
  abandon(): void {
    this.#hasLeft = true;
    for (const one of this.#kept.values()) one.release();
    this.#kept.clear();
  }

  #has(one: Kept): boolean {
    for (const kept of this.#kept.values()) if (kept === one) return true;
    return false;
  }
}

/** One listener in one registry. */
class Kept {
  readonly registryName: string;
  readonly #registry: Registry;
  readonly #self: Registration;
  readonly #context: RegistrationsContext;
  readonly #backoff: Backoff;
  #isStarted = false;
  #isLeaving = false;
  #timer: NodeJS.Timeout | null = null;
  /** Under way, or done; null before the first attempt and after a failed one. */
  #registered: Promise<Registered | null> = Promise.resolve(null);
  #failure = '';

  constructor(registryName: string, registry: Registry, self: Registration, context: RegistrationsContext) {
    this.registryName = registryName;
    this.#registry = registry;
    this.#self = self;
    this.#context = context;
    this.#backoff = new Backoff(1000, RETRY_MAX_MS, context.random);
  }

  isOf(registry: Registry): boolean {
    return this.#registry === registry;
  }

  /** Whether both are one entry of one registry. */
  isSameAs(other: Kept): boolean {
    return this.registryName === other.registryName && this.#self.id === other.#self.id;
  }

  /** Once; further calls do nothing. */
  start(after: Promise<unknown> | null): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    if (after === null) this.#attempt();
    else void after.then(() => this.#attempt());
  }

  #attempt(): void {
    this.#timer = null;
    if (this.#isLeaving) return;
    this.#registered = this.#register();
  }

  async #register(): Promise<Registered | null> {
    const { service, id, host, port } = this.#self;
    const fields = { registry: this.registryName, service, id };
    try {
      if (this.#registry.register === undefined)
        throw new OperationError('registry-error', 'this kind of registry takes no registrations');
      const registered = await this.#registry.register(this.#self);
      const address = formatHostPort(host, port);
      this.#context.log('info', 'a listener registers', { ...fields, address });
      return registered;
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#failure && !this.#isLeaving)
        this.#context.log('warn', 'a listener cannot be registered; trying again', { ...fields, error: message });
      this.#failure = message;
      if (!this.#isLeaving) this.#timer = setTimeout(() => this.#attempt(), 500 + this.#backoff.next());
      return null;
    }
  }

  release(): void {
    this.#stop();
    void this.#registered.then((registered) => registered?.release?.());
  }

  async leave(): Promise<void> {
    this.#stop();
    const late = Promise.withResolvers<string>();
    const timer = setTimeout(late.resolve, LEAVE_MS, 'it does not answer in time');
    const failure = await Promise.race([this.#deregister(), late.promise]);
    clearTimeout(timer);
    if (failure === '') return;
    const { service, id } = this.#self;
    const fields = { registry: this.registryName, service, id, error: failure };
    this.#context.log('warn', 'a listener could not be taken out of its registry, which finds out by its TTL', fields);
  }

  #stop(): void {
    this.#isLeaving = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /** '' or what went wrong. */
  async #deregister(): Promise<string> {
    try {
      await (await this.#registered)?.deregister();
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  }
}
