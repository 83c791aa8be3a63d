import type { ChildProcess } from 'node:child_process';
import type { Server, Socket } from 'node:net';
import type { EndpointChange } from '../admin/control.ts';
import { ConfigError, OperationError } from '../base/errors.ts';
import { placeKey } from './addresses.ts';
import type { AdminDoor } from './admin-door.ts';
import type { LentServers } from './lent-servers.ts';
import type { Sources } from './sources.ts';
import {
  type ActiveCounts,
  type Inheritance,
  type ToPredecessor,
  type ToSuccessor,
  UPGRADE_PROTOCOL,
} from './upgrade-messages.ts';

/** How often the new process hears what is still under way here. */
const COUNT_EVERY_MS = 500;

export interface UpgradeParts {
  readonly lent: LentServers;
  readonly sources: Sources;
  readonly admin: AdminDoor;
  readonly inheritance: () => Inheritance;
  /** What is in flight here. */
  readonly active: () => ActiveCounts;
  /** An operator asked the new process for this; resolves when it is in force. */
  readonly setEndpoint: (pool: string, endpoint: string, change: EndpointChange) => Promise<void>;
}

/**
 * One attempt to have another process take this one's place, from the side of the old one. The new process asks, and is given: what we know, the registries
 * we serve, our listening servers, the admin API. All the time nothing here is given up; only when the new one says that it is ready is there no way back.
 * From then on, for as long as this one drains, the new one hears what is under way here, and passes on what operators ask it for.
 */
export class Upgrade {
  readonly #parts: UpgradeParts;
  readonly #child: ChildProcess;
  readonly #outcome = Promise.withResolvers<void>();
  #isSettled = false;
  /** Listening servers are on their way. */
  #isGiving = false;
  /** What the last message asked for. */
  #acting: Promise<void> = Promise.resolve();
  /** Number of the last change that the new process passed on. */
  #changed = 0;

  /** `child` was just started, with an IPC channel. */
  constructor(parts: UpgradeParts, child: ChildProcess) {
    this.#parts = parts;
    this.#child = child;
    // `run` hears of it; nobody else has to.
    this.#outcome.promise.catch(() => {});
    child.on('message', (message: ToPredecessor) => {
      if (message.kind === 'endpoint') void this.#change(message);
      else this.#acting = this.#take(message);
    });
    child.once('error', (error) => this.#fail(new OperationError('upgrade', `the new process: ${error.message}`)));
    child.once('exit', (code, signal) => {
      const how = signal === null ? `with exit status ${code}` : `by ${signal}`;
      this.#fail(new OperationError('upgrade', `the new process ended ${how} before it was ready`));
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Resolves when the new process serves. Otherwise it is gone, everything here is as it was, and this rejects with a ConfigError or an OperationError. */
  async run(timeoutMs: number): Promise<void> {
    const late = () => this.abort(`the new process was not ready after ${timeoutMs / 1000} s`);
    const timer = setTimeout(late, timeoutMs);
    try {
      await this.#outcome.promise;
    } catch (error) {
      await this.#takeBack();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    this.#letGo();
  }

  /**
   * An operator changed an endpoint here: the new process is to know. While both may have requests, resolves only when it is sure who answers what
   * is in flight.
   */
  async tell(pool: string, endpoint: string, change: EndpointChange): Promise<void> {
    this.#send({ kind: 'endpoint', pool, endpoint, change });
    if (this.#isGiving) await this.#outcome.promise.catch(() => {});
  }

  /** What was sent to this process and is the new one's now. */
  passOn(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Ends the attempt, unless it has succeeded. */
  abort(reason: string): void {
    this.#fail(new OperationError('upgrade', reason));
  }

  #fail(error: Error): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#outcome.reject(error);
  }

  /** It may hold what is ours: only when it is gone is that surely free again. */
  async #takeBack(): Promise<void> {
    const child = this.#child;
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
    }
    this.#parts.lent.giveBack();
    await this.#acting;
    await this.#parts.sources.takeBack();
  }

  #letGo(): void {
    const { lent, sources, admin } = this.#parts;
    lent.close();
    sources.letGo();
    admin.leave();
    this.#tellActive();
    const telling = setInterval(() => this.#tellActive(), COUNT_EVERY_MS).unref();
    this.#child.once('disconnect', () => clearInterval(telling));
    this.#child.unref();
    this.#child.channel?.unref();
  }

  #tellActive(): void {
    this.#send({ kind: 'active', active: this.#parts.active(), number: this.#changed });
  }

  async #change({ pool, endpoint, change, number }: Extract<ToPredecessor, { kind: 'endpoint' }>): Promise<void> {
    await this.#parts.setEndpoint(pool, endpoint, change);
    this.#changed = number;
    this.#tellActive();
  }

  async #take(message: Exclude<ToPredecessor, { kind: 'endpoint' }>): Promise<void> {
    if (this.#isSettled) return;
    try {
      await this.#answer(message);
    } catch (error) {
      this.#fail(error instanceof Error ? error : new OperationError('upgrade', String(error)));
    }
  }

  async #answer(message: Exclude<ToPredecessor, { kind: 'endpoint' }>): Promise<void> {
    switch (message.kind) {
      case 'hello':
        return this.#greet(message.protocol);
      case 'retire-registry': {
        const isThere = await this.#parts.sources.retire(message.bind, message.data);
        return this.#send({ kind: 'registry-retired', isThere });
      }
      case 'take-registry':
        return this.#giveRegistry(message.bind);
      case 'take-listeners':
        return this.#giveListeners(new Set(message.places));
      case 'take-admin':
        return this.#send({ kind: 'admin' }, this.#parts.admin.server ?? undefined);
      case 'ready':
        this.#isSettled = true;
        return this.#outcome.resolve();
      case 'failed': {
        const { problems } = message;
        return this.#fail(
          problems.length > 0 ? new ConfigError(problems) : new OperationError('upgrade', message.message),
        );
      }
    }
  }

  #greet(protocol: number): void {
    if (protocol !== UPGRADE_PROTOCOL)
      throw new OperationError(
        'upgrade',
        `the new process hands over by protocol ${protocol}, ours is ${UPGRADE_PROTOCOL}`,
      );
    this.#send({ kind: 'inheritance', inheritance: this.#parts.inheritance() });
  }

  #giveRegistry(bind: string): void {
    const server = this.#parts.sources.give(bind, (socket) => this.#send({ kind: 'registry-client', bind }, socket));
    this.#send({ kind: 'registry', bind }, server ?? undefined);
  }

  async #giveListeners(places: ReadonlySet<string>): Promise<void> {
    const { lent } = this.#parts;
    this.#isGiving = true;
    await lent.borrow();
    if (this.#isSettled) return lent.giveBack();
    for (const { listener, bind, server } of lent.all) {
      const place = placeKey({ listener, bind, transport: 'tcp' });
      if (places.has(place)) this.#send({ kind: 'listener', place }, server);
    }
    this.#send({ kind: 'all-listeners' });
  }

  #send(message: ToSuccessor, handle?: Server | Socket): void {
    // Where it is gone, `exit` is on its way.
    if (this.#child.connected) this.#child.send(message, handle, { keepOpen: false }, () => {});
    else if (handle !== undefined && 'destroy' in handle) handle.destroy();
  }
}
