import { parseHostPort } from '../base/literals.ts';
import { ListenerCells } from '../proxy/listener-cells.ts';
import { type UdpContext, UdpEngine } from '../proxy/udp/engine.ts';
import type { AccessLogBuffer } from '../telemetry/access-log-buffer.ts';
import { type RouteParts, udpSettings } from './engine-settings.ts';
import type { Place } from './listener-set.ts';
import type { WorkerListener } from './messages.ts';

interface Served {
  readonly engine: UdpEngine;
  readonly cells: ListenerCells;
  access: AccessLogBuffer | null;
}

/** What a worker's UDP listeners need of it. */
export interface DatagramContext extends UdpContext {
  readonly parts: RouteParts;
  readonly isFull: () => boolean;
  readonly onListening: (listener: string, bind: string, error: Error | null) => void;
}

/** The UDP listeners of one worker. Their sockets are its own: nothing is handed over, a successor opens its own beside them. */
export class DatagramListeners {
  readonly #context: DatagramContext;
  readonly #served = new Map<string, Served>();
  /** That left the document while sessions went on. */
  #leaving: Served[] = [];

  constructor(context: DatagramContext) {
    this.#context = context;
  }

  configure(
    listeners: readonly WorkerListener[],
    accessOf: (listener: string, cells: ListenerCells) => AccessLogBuffer | null,
  ): void {
    for (const one of listeners) this.#configure(one, accessOf);
    for (const [name, served] of this.#served) {
      const now = listeners.find(({ options }) => options.name === name);
      this.#leaveAddresses(served, now?.options.bind ?? [], listeners);
      if (now !== undefined) continue;
      this.#served.delete(name);
      this.#leaving.push(served);
    }
  }

  /** An address that another listener has now goes to it as it is: nobody opens it anew. One that nobody has is closed when it is quiet. */
  #leaveAddresses({ engine }: Served, kept: readonly string[], listeners: readonly WorkerListener[]): void {
    for (const bind of engine.binds) {
      if (kept.includes(bind)) continue;
      const isShared = parseHostPort(bind)?.port !== 0;
      const heir = listeners.find(({ options }) => isShared && options.bind.includes(bind));
      if (heir === undefined) engine.stopSoon(bind);
      else engine.giveTo(this.#served.get(heir.options.name)!.engine, bind);
    }
  }

  #configure(one: WorkerListener, accessOf: (listener: string, cells: ListenerCells) => AccessLogBuffer | null): void {
    const { name } = one.options;
    const settings = udpSettings(one, this.#context.parts, this.#context.isFull);
    const known = this.#served.get(name);
    if (known === undefined) {
      const cells = new ListenerCells(this.#context.parts.rows, one.cells);
      const access = accessOf(name, cells);
      this.#served.set(name, { engine: new UdpEngine(settings, cells, this.#context, access), cells, access });
      return;
    }
    known.engine.settings = settings;
    known.access?.flush();
    known.access = accessOf(name, known.cells);
    known.engine.access = known.access;
  }

  listen({ listener, bind }: Place, host: string, port: number): void {
    const engine = this.#served.get(listener)?.engine;
    if (engine === undefined || engine.binds.includes(bind)) return;
    engine.listen(bind, host, port, (error) => this.#context.onListening(listener, bind, error));
  }

  /** Sessions open now. */
  get sessions(): number {
    let sum = 0;
    for (const { cells } of this.#served.values()) sum += cells.connectionsActive;
    return sum;
  }

  get isActive(): boolean {
    return [...this.#served.values(), ...this.#leaving].some(({ engine }) => engine.isActive);
  }

  accessOf(listener: string): AccessLogBuffer | null {
    return this.#served.get(listener)?.access ?? null;
  }

  tick(nowMs: number): void {
    for (const { engine, access } of [...this.#served.values(), ...this.#leaving]) {
      engine.tick(nowMs);
      access?.flush();
    }
    if (this.#leaving.length > 0) this.#leaving = this.#leaving.filter(({ engine }) => engine.isActive);
  }

  drain(): void {
    for (const { engine } of this.#served.values()) for (const bind of engine.binds) engine.stopSoon(bind);
  }

  cut(): void {
    for (const { engine } of [...this.#served.values(), ...this.#leaving]) engine.cut();
  }

  flush(): void {
    for (const { access } of this.#served.values()) access?.flush();
  }
}
