import type { Server, Socket } from 'node:net';
import type { EndpointChange } from '../admin/control.ts';
import { ConfigError, OperationError } from '../base/errors.ts';
import type { RegistrySuccession } from '../discovery/registry.ts';
import { within } from './reload.ts';
import {
  type ActiveCounts,
  type Inheritance,
  type ToPredecessor,
  type ToSuccessor,
  UPGRADE_PROTOCOL,
  UPGRADE_VARIABLE,
} from './upgrade-messages.ts';

/** What is asked for by the admin API comes to nothing there after so long. */
const CHANGE_MS = 1000;

type Answer = { readonly message: ToSuccessor; readonly server: Server | undefined };

/** What the other process tells of itself, for as long as it lives. */
export interface PredecessorSink {
  /** An operator changed an endpoint there. */
  endpoint(pool: string, endpoint: string, change: EndpointChange): void;
  /** What is in flight there. Nothing when it has ended. */
  active(counts: ActiveCounts): void;
}

/**
 * The process that started this one to take its place, as this one sees it. Asked on main, one thing after the other, while this process starts. When
 * it ends before this one is ready, this one ends too: nobody asked for a process without a supervisor. Once this one is ready it drains, and the channel
 * to it stays open: what is in flight there counts here, and operators' changes reach it.
 */
export class Predecessor implements RegistrySuccession {
  readonly #channel: NodeJS.Process;
  #answer: (answer: Answer) => void = () => {};
  #onListener: (place: string, server: Server) => void = () => {};
  readonly #onRegistryClient = new Map<string, (socket: Socket) => void>();
  #sink: PredecessorSink | null = null;
  /** Changes that came before there was a sink. */
  #early: Extract<ToSuccessor, { kind: 'endpoint' }>[] = [];
  #isOver = false;
  /** Changes that were told there, and how many of them are in force. */
  #told = 0;
  #inForce = 0;
  readonly #waiting = new Set<() => void>();
  readonly #gone = Promise.withResolvers<void>();

  constructor(channel: NodeJS.Process, onLost: () => void) {
    this.#channel = channel;
    channel.on('message', this.#take);
    channel.once('disconnect', () => {
      if (!this.#isOver) onLost();
      this.#sink?.active({});
      this.#gone.resolve();
      for (const look of [...this.#waiting]) look();
    });
  }

  /** The one that started this process to be its successor; null when nobody did. The mark is taken away, so that no child inherits it. */
  static find(channel: NodeJS.Process, onLost: () => void): Predecessor | null {
    const isMarked = channel.env[UPGRADE_VARIABLE] === '1';
    delete channel.env[UPGRADE_VARIABLE];
    return isMarked && channel.connected ? new Predecessor(channel, onLost) : null;
  }

  /** From now on `sink` hears everything, and what it has missed. */
  follow(sink: PredecessorSink): void {
    this.#sink = sink;
    for (const { pool, endpoint, change } of this.#early.splice(0)) sink.endpoint(pool, endpoint, change);
  }

  /** Resolves when it has ended. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  /** An operator changes an endpoint here. Resolves when that is in force there too, and what is in flight there after it is known; at once where it has ended. */
  tell(pool: string, endpoint: string, change: EndpointChange): Promise<void> {
    const number = ++this.#told;
    this.#send({ kind: 'endpoint', pool, endpoint, change, number });
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = () => {
      if (this.#inForce >= number || !this.#channel.connected) resolve();
    };
    this.#waiting.add(look);
    look();
    return within(promise, CHANGE_MS).finally(() => this.#waiting.delete(look));
  }

  async inheritance(): Promise<Inheritance> {
    const { message } = await this.#ask({ kind: 'hello', protocol: UPGRADE_PROTOCOL });
    if (message.kind !== 'inheritance')
      throw new OperationError('upgrade', `expected inheritance, got ${message.kind}`);
    return message.inheritance;
  }

  /** Resolves when nobody there serves `bind` or writes to `data` any more; with true when the server at `bind` can be had. */
  async retire(bind: string, data: string): Promise<boolean> {
    const { message } = await this.#ask({ kind: 'retire-registry', bind, data });
    return message.kind === 'registry-retired' && message.isThere;
  }

  /** The server of a retired registry. It accepts from now on: it needs its listener before the turn of the loop ends. */
  async take(bind: string, onClient: (socket: Socket) => void): Promise<Server> {
    this.#onRegistryClient.set(bind, onClient);
    const { server } = await this.#ask({ kind: 'take-registry', bind });
    if (server === undefined) throw new OperationError('upgrade', `no server came for the registry at ${bind}`);
    return server;
  }

  /** `onServer` is called with each server; it has to find its listener before it returns. Resolves when all have come. */
  async takeListeners(places: readonly string[], onServer: (place: string, server: Server) => void): Promise<void> {
    this.#onListener = onServer;
    await this.#ask({ kind: 'take-listeners', places });
  }

  async takeAdmin(): Promise<Server> {
    const { server } = await this.#ask({ kind: 'take-admin' });
    if (server === undefined) throw new OperationError('upgrade', 'no server came for the admin API');
    return server;
  }

  /** This process serves: the other one drains and ends. */
  ready(): void {
    this.#send({ kind: 'ready' });
    this.#isOver = true;
  }

  /** This process does not come up; resolves when that has been said. */
  failed(error: unknown): Promise<void> {
    this.#isOver = true;
    const problems = error instanceof ConfigError ? error.problems : [];
    const message = error instanceof Error ? error.message : String(error);
    return new Promise((resolve) => {
      if (this.#channel.connected) this.#channel.send!({ kind: 'failed', message, problems }, () => resolve());
      else resolve();
    });
  }

  #ask(message: ToPredecessor): Promise<Answer> {
    return new Promise((resolve) => {
      this.#answer = resolve;
      this.#send(message);
    });
  }

  #send(message: ToPredecessor): void {
    // Where it has gone meanwhile, `disconnect` is on its way.
    if (this.#channel.connected) this.#channel.send!(message, () => {});
  }

  readonly #take = (message: ToSuccessor, handle: unknown): void => {
    switch (message.kind) {
      case 'listener':
        return this.#onListener(message.place, handle as Server);
      case 'endpoint':
        if (this.#sink === null) this.#early.push(message);
        return this.#sink?.endpoint(message.pool, message.endpoint, message.change);
      case 'active':
        this.#sink?.active(message.active);
        this.#inForce = message.number;
        for (const look of [...this.#waiting]) look();
        return;
      case 'registry-client':
        return this.#onRegistryClient.get(message.bind)?.(handle as Socket);
      default:
        this.#answer({ message, server: handle as Server | undefined });
    }
  };
}
