import type { Clock } from '../base/clock.ts';
import { FineTimers } from '../base/fine-timers.ts';
import type { Random } from '../base/random.ts';
import { TimerWheel } from '../base/timer-wheel.ts';
import { TurnClock } from '../base/turn-clock.ts';
import type { EndpointDelta } from '../endpoint/delta.ts';
import { PoolWords } from '../endpoint/pool-words.ts';
import { SlotTable } from '../endpoint/slots.ts';
import { Pool, type PoolContext } from '../pool/pool.ts';
import { Refusals } from '../proxy/http1/refusals.ts';
import { UpstreamConnections } from '../proxy/http1/upstream-connections.ts';
import type { ListenerCells } from '../proxy/listener-cells.ts';
import { Sockets } from '../proxy/sockets.ts';
import { UniqueIds } from '../proxy/unique-ids.ts';
import { AccessLogBuffer } from '../telemetry/access-log-buffer.ts';
import { DatagramListeners } from './datagram-listeners.ts';
import { Dialers } from './dialers.ts';
import type { RouteParts } from './engine-settings.ts';
import type { Heartbeats } from './heartbeats.ts';
import type { Configuration, FromWorker } from './messages.ts';
import { StreamListeners } from './stream-listeners.ts';

/** Period of a worker's timer wheel: the resolution of every timeout of the data plane. */
export const TICK_MS = 50;
/** An event loop that comes so late blames nobody for what timed out meanwhile. */
const LAG_MS = 200;

export interface DataPlaneOptions {
  readonly worker: number;
  readonly workers: number;
  /** This thread's row in shared memory, and how many there are. */
  readonly row: number;
  readonly rows: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly heartbeats: Heartbeats;
  readonly chunks: readonly SharedArrayBuffer[];
  readonly affinityKey: Uint8Array;
  readonly post: (message: FromWorker) => void;
}

/** Everything one worker runs: its pools, its listeners, its wheel. Told by main what to do; knows nothing of registries or files. */
export class DataPlane {
  readonly #options: DataPlaneOptions;
  readonly #row: number;
  readonly #table: SlotTable;
  readonly #wheel = new TimerWheel(TICK_MS);
  readonly #clock: TurnClock;
  readonly #fine: FineTimers;
  readonly #sockets: Sockets;
  readonly #upstreams: UpstreamConnections;
  readonly #dialers: Dialers;
  readonly #poolContext: PoolContext;
  readonly #pools = new Map<string, Pool>();
  /** That left the document while something still ran on them. */
  readonly #leavingPools = new Set<Pool>();
  readonly streams: StreamListeners;
  readonly datagrams: DatagramListeners;
  readonly #timer: NodeJS.Timeout;
  #connectionCeiling = 0;
  #draining = false;
  #drainedTold = false;
  /** Added to what the engine waits before it ends an idle connection. */
  #patienceMs = 0;
  #nextTickMs: number;

  constructor(options: DataPlaneOptions) {
    this.#options = options;
    this.#row = options.row;
    this.#table = new SlotTable(options.rows, options.chunks);
    this.#clock = new TurnClock(options.clock);
    this.#fine = new FineTimers(this.#clock);
    this.#sockets = new Sockets(this.#clock);
    this.#upstreams = new UpstreamConnections(this.#clock, this.#wheel, this.#sockets);
    this.#dialers = new Dialers(options.clock, (pool, endpoint, reason) =>
      options.post({ kind: 'tls-refused', pool, endpoint, reason }),
    );
    this.#poolContext = this.#makePoolContext();
    const parts: RouteParts = {
      rows: options.rows,
      poolOf: (name) => this.#pools.get(name)!,
      dialerOf: (name) => this.#dialers.of(name),
    };
    this.streams = this.#makeStreams(parts);
    this.datagrams = this.#makeDatagrams(parts);
    this.#nextTickMs = performance.now() + TICK_MS;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  #makePoolContext(): PoolContext {
    const { worker, workers, random, affinityKey, post } = this.#options;
    return {
      clock: this.#clock,
      random,
      worker,
      workers,
      row: this.#row,
      table: this.#table,
      affinityKey,
      onEjected: (pool, endpoint, cause, untilMs) =>
        post({ kind: 'ejected', pool, slot: endpoint.slot, cause, untilMs }),
      onReported: (pool, endpoint, cause) => post({ kind: 'would-eject', pool, slot: endpoint.slot, cause }),
      onDecision: (decision) => post({ kind: 'decision', decision }),
      onGone: (pool, endpoint) => {
        this.#upstreams.forget(endpoint);
        post({ kind: 'gone', pool, slot: endpoint.slot });
      },
    };
  }

  #makeStreams(parts: RouteParts): StreamListeners {
    return new StreamListeners({
      engines: {
        row: this.#row,
        clock: this.#clock,
        random: this.#options.random,
        wheel: this.#wheel,
        upstreams: this.#upstreams,
        fine: this.#fine,
        sockets: this.#sockets,
        uniqueIds: new UniqueIds(),
        refusals: new Refusals(this.#options.workers),
      },
      parts,
      isFull: () => this.#isFull(),
      access: (listener, cells, configuration) => this.#access(listener, cells, configuration),
      post: this.#options.post,
    });
  }

  #makeDatagrams(parts: RouteParts): DatagramListeners {
    const { clock, post } = this.#options;
    return new DatagramListeners({
      row: this.#row,
      clock,
      wheel: this.#wheel,
      parts,
      isFull: () => this.#isFull(),
      onListening: (listener, bind, error) => {
        if (error === null) post({ kind: 'listening', listener, bind });
        else post({ kind: 'listen-failed', listener, bind, message: error.message });
      },
    });
  }

  useRows(used: number): void {
    this.#table.usedRows = used;
  }

  adoptChunk(buffer: SharedArrayBuffer): void {
    this.#table.adopt(buffer);
  }

  applyDelta(delta: EndpointDelta): void {
    this.#pools.get(delta.pool)?.apply(delta);
  }

  /** Swaps a document in. What it does not change keeps its state; exchanges that run finish on what they began with. */
  configure(configuration: Configuration): void {
    this.#connectionCeiling = configuration.connections;
    this.#sockets.use(configuration.fastPath);
    this.#configurePools(configuration);
    this.streams.configure(configuration);
    this.datagrams.configure(
      configuration.listeners.filter(({ options }) => options.protocol === 'udp'),
      (listener, cells) => this.#access(listener, cells, configuration),
    );
    this.#options.post({ kind: 'configured' });
  }

  #configurePools({ pools, decisions }: Configuration): void {
    const { rows } = this.#options;
    for (const { name, options, words } of pools) {
      this.#dialers.configure(name, options);
      const known = this.#pools.get(name);
      if (known !== undefined) known.configure(options);
      else this.#pools.set(name, new Pool(name, options, new PoolWords(rows, words), this.#poolContext));
    }
    for (const [name, pool] of this.#pools) {
      if (pools.some((one) => one.name === name)) continue;
      this.#pools.delete(name);
      this.#dialers.remove(name);
      this.#leavingPools.add(pool);
    }
    for (const pool of this.#pools.values()) pool.decisionEvery = decisions;
    this.#upstreams.forgetRetired();
  }

  #isFull(): boolean {
    if (this.#connectionCeiling === 0) return false;
    return this.streams.connections + this.datagrams.sessions >= this.#connectionCeiling;
  }

  #access(listener: string, cells: ListenerCells, { access }: Configuration): AccessLogBuffer | null {
    if (access === null) return null;
    const send = (batch: string, lines: number) => this.#options.post({ kind: 'access', listener, batch, lines });
    return new AccessLogBuffer({ cells, row: this.#row, query: access.query, send });
  }

  /** Main wrote a batch of access lines. */
  logged(listener: string, length: number): void {
    (this.streams.accessOf(listener) ?? this.datagrams.accessOf(listener))?.acknowledge(length);
  }

  /** From now on: `connection: close`, accept until the queues are quiet, end what is idle; `drained` is posted when nothing is left. */
  drain(patienceMs = 0): void {
    this.#draining = true;
    this.#patienceMs = patienceMs;
    this.datagrams.drain();
    this.streams.drain();
  }

  /** Ends every connection now. */
  cut(): void {
    this.datagrams.cut();
    this.streams.cut();
  }

  /** Stops the wheel; nothing is left that keeps the thread alive. */
  close(): void {
    clearInterval(this.#timer);
    this.#upstreams.close();
    this.datagrams.flush();
    this.#fine.close();
    this.streams.flush();
  }

  #tick(): void {
    const now = performance.now();
    this.#options.heartbeats.beat(this.#row, this.#options.clock.now(), Math.max(0, now - this.#nextTickMs));
    // Behind the reads of this turn: after a stall of ours the answers lie in the sockets, and no timeout may be quicker than they are.
    setImmediate(this.#turnWheel);
    const nowMs = this.#options.clock.now();
    for (const pool of this.#pools.values()) pool.tick(nowMs);
    for (const pool of this.#leavingPools) {
      pool.tick(nowMs);
      if (pool.isEmpty) this.#leavingPools.delete(pool);
    }
    this.streams.tick(now, nowMs);
    this.datagrams.tick(nowMs);
    if (this.#draining) this.#tickDrain(nowMs);
  }

  /** After a stall the wheel catches up, so that no timeout gets longer than the stall itself. */
  readonly #turnWheel = (): void => {
    const now = performance.now();
    const lateMs = now - this.#nextTickMs;
    // Here, where timeouts come due: the stall may have been behind the tick, and the next tick sees nothing of it.
    if (lateMs > LAG_MS) this.#stalled(lateMs);
    for (; this.#nextTickMs <= now; this.#nextTickMs += TICK_MS) this.#wheel.tick();
  };

  #stalled(forMs: number): void {
    const nowMs = this.#options.clock.now();
    this.#options.heartbeats.beat(this.#row, nowMs, forMs);
    for (const pool of this.#pools.values()) pool.hold(nowMs);
  }

  #tickDrain(nowMs: number): void {
    this.streams.endIdle(nowMs - this.#patienceMs);
    if (this.#drainedTold || this.streams.isActive || this.datagrams.isActive) return;
    this.#drainedTold = true;
    this.#options.post({ kind: 'drained' });
  }
}
