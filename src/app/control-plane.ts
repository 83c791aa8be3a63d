import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { CentreActs, Judgement } from '../admin/config-acts.ts';
import type {
  Control,
  EndpointChange,
  Explained,
  Question,
  ReloadResult,
  RestartResult,
  SetEndpointResult,
  UpgradeResult,
} from '../admin/control.ts';
import { systemClock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import { systemRandom } from '../base/random.ts';
import type { RegistryContext } from '../discovery/registry.ts';
import { EventLog } from '../telemetry/event-log.ts';
import type { Logger } from '../telemetry/log.ts';
import type { RecentTraffic } from '../telemetry/recent-traffic.ts';
import { AccessTarget } from './access-target.ts';
import { Addresses } from './addresses.ts';
import type { AdminDoor } from './admin-door.ts';
import { affinityKey } from './affinity-key.ts';
import { configurationOf } from './configuration.ts';
import type { DocumentOptions, LoadedDocument } from './document.ts';
import { DocumentInForce } from './document-in-force.ts';
import { Ending } from './ending.ts';
import { explain } from './explain.ts';
import { listenEverywhere } from './first-sockets.ts';
import { HealthFile } from './health-file.ts';
import type { JudgeParts } from './judge-live.ts';
import { endForStuckWorker } from './last-resort.ts';
import { LentServers } from './lent-servers.ts';
import { ListenerSet } from './listener-set.ts';
import { MemoryLimit } from './memory-limit.ts';
import { observe } from './observation.ts';
import { PoolSet } from './pool-set.ts';
import type { Predecessor } from './predecessor.ts';
import { Registrations } from './registrations.ts';
import { type ReloadParts, sendSockets, within, workerCount } from './reload.ts';
import { RequestWindow } from './request-window.ts';
import { RunningState } from './running-state.ts';
import { Sources } from './sources.ts';
import { Succession } from './succession.ts';
import { TicketKeys } from './ticket-keys.ts';
import { Turns } from './turns.ts';
import { WorkerMail } from './worker-mail.ts';
import { restartInTurn } from './worker-restarts.ts';
import { maxWorkers, rowsFor, Workers } from './workers.ts';

/** How often main looks after ejections, budgets and workers. */
const SWEEP_MS = 100;

export interface ControlPlaneOptions {
  readonly document: LoadedDocument;
  /** Reads the document again, for a reload. Throws a ConfigError. */
  readonly reread: () => Promise<LoadedDocument>;
  readonly read: JudgeParts['read'];
  readonly log: Logger;
  /** Level and format of `log`, after a reload; without it they stay. */
  readonly configureLog?: (log: DocumentOptions['log']) => Promise<void>;
  readonly version: string;
  /** Starts the program once more, as a process with an IPC channel; without it there are no upgrades. */
  readonly startSuccessor?: () => ChildProcess;
  /** The process whose place this one takes. */
  readonly predecessor?: Predecessor | null;
}

/** The running proxy as main sees it: everything that is started from a document, and what may be done to it. Started once, closed once. */
export class ControlPlane implements Control {
  readonly events: EventLog;
  readonly #options: ControlPlaneOptions;
  readonly #log: Logger;
  readonly #addresses = new Addresses();
  readonly workers: Workers;
  readonly #pools: PoolSet;
  readonly listeners: ListenerSet;
  readonly #sources: Sources;
  readonly #registrations: Registrations;
  readonly #state: RunningState;
  readonly #recent: RecentTraffic;
  readonly #admin: AdminDoor;
  readonly #lent: LentServers;
  readonly #access: AccessTarget;
  readonly #parts: ReloadParts;
  readonly #mail: WorkerMail;
  readonly #memory: MemoryLimit;
  readonly #health: HealthFile;
  readonly #turns = new Turns();
  /** Set by whoever follows a config centre. */
  centre: CentreActs | null = null;
  readonly #ticketKeys = new TicketKeys();
  readonly #ending: Ending;
  readonly #succession: Succession;
  readonly inForce: DocumentInForce;
  #sweep: NodeJS.Timeout | null = null;
  #listening = false;
  #isClosed = false;

  constructor(options: ControlPlaneOptions) {
    const { document } = options.document;
    this.#options = options;
    this.#log = options.log;
    this.events = new EventLog({ log: options.log });
    const count = workerCount(document.runtime);
    const rows = rowsFor(count);
    this.workers = this.#makeWorkers(count, rows, document.runtime.state);
    const post = { broadcast: this.workers.broadcast.bind(this.workers), rows: () => this.workers.rows() };
    this.#health = new HealthFile({
      path: join(document.runtime.state, 'health.json'),
      clock: systemClock,
      log: options.log,
      remember: () => this.#pools.remember(),
    });
    this.#pools = new PoolSet(rows, post, this.events, this.#health.recall);
    this.listeners = new ListenerSet(rows, this.#addresses);
    const log: RegistryContext['log'] = (level, message, fields) => this.#log[level](fields ?? {}, message);
    this.#sources = new Sources({
      clock: systemClock,
      random: systemRandom,
      log,
      stateDirectory: join(document.runtime.state, 'last-good'),
      onSet: (pool, set) => this.#pools.replace(pool, set),
      publish: (event) => this.events.publish(event),
      succession: options.predecessor ?? null,
      onEnding: (registries) => this.#registrations.leaveThese(registries),
    });
    this.#registrations = new Registrations({
      random: systemRandom,
      log,
      registry: (name) => this.#sources.registry(name),
      addressOf: (listener) => this.listeners.addressOf(listener),
    });
    this.#state = new RunningState({
      document: () => this.inForce.loaded,
      pools: this.#pools,
      listeners: this.listeners,
      sources: this.#sources,
      workers: this.workers,
    });
    const { recent, admin } = observe({
      log: this.#log,
      state: this.#state,
      events: this.events,
      control: this,
      version: options.version,
      endpointSeries: document.admin.endpointSeries,
    });
    this.#recent = recent;
    this.#admin = admin;
    this.#access = new AccessTarget(options.log);
    this.#lent = new LentServers(this.workers);
    this.#parts = this.#makeParts();
    this.#mail = new WorkerMail(this.#parts, (row) => this.#ending.threadDrained(row));
    this.#memory = new MemoryLimit(document.runtime.memory, {
      clock: systemClock,
      memory: () => this.workers.memory(),
      restart: (worker, bytes) => this.restartWorkers(worker, `its memory, ${Math.round(bytes / 1024 / 1024)} MiB`),
    });
    this.#ending = this.#makeEnding();
    this.#succession = this.#makeSuccession();
    this.inForce = new DocumentInForce({
      document: options.document,
      reread: options.reread,
      read: options.read,
      events: this.events,
      state: this.#state,
      turns: this.#turns,
      ending: this.#ending,
      reload: this.#parts,
    });
  }

  #makeParts(): ReloadParts {
    return {
      log: this.#log,
      addresses: this.#addresses,
      listeners: this.listeners,
      pools: this.#pools,
      sources: this.#sources,
      registrations: this.#registrations,
      workers: this.workers,
      lent: this.#lent,
      admin: this.#admin,
      access: this.#access,
      requests: new RequestWindow(),
      ticketKeys: this.#ticketKeys,
      refuseActs: () => this.#ending.refuseActs(),
      configureLog: async (log) => this.#options.configureLog?.(log),
      adopt: (document) => {
        this.inForce.adopt(document);
        this.#memory.limit = document.document.runtime.memory;
      },
      configureWorkers: () =>
        this.workers.broadcast({
          kind: 'configure',
          configuration: configurationOf(this.inForce.options, this.#parts),
        }),
    };
  }

  #makeEnding(): Ending {
    return new Ending({
      ...this.#parts,
      events: this.events,
      state: this.#state,
      turns: this.#turns,
      runtime: () => this.inForce.options.runtime,
      predecessorGone: () => this.#options.predecessor?.gone ?? null,
    });
  }

  #makeSuccession(): Succession {
    return new Succession({
      ...this.#parts,
      events: this.events,
      state: this.#state,
      turns: this.#turns,
      ending: this.#ending,
      health: this.#health,
      runtime: () => this.inForce.options.runtime,
      predecessor: this.#options.predecessor ?? null,
      startSuccessor: this.#options.startSuccessor ?? null,
    });
  }

  #makeWorkers(count: number, rows: number, state: string): Workers {
    return new Workers({
      count,
      rows,
      maxCount: maxWorkers(count),
      affinityKey: affinityKey(join(state, 'affinity.key'), this.#log),
      clock: systemClock,
      chunks: () => this.#pools.slots.buffers,
      onUp: (row, withSockets) => this.#equip(row, withSockets),
      onMessage: (row, message) => this.#mail.take(row, message),
      onGone: (thread, reason, retired) => this.#onThreadGone(thread, reason, retired),
      onStuck: (worker) => endForStuckWorker(worker, this.#log),
      onStalled: (worker, forMs) => this.events.publish({ type: 'worker-stalled', worker, forMs }),
      onRows: (used) => this.#pools.useRows(used),
      onFrozen: (frozen) => this.#pools.freeze(frozen),
    });
  }

  /** Addresses clients can use, by listener. */
  get addresses(): readonly { readonly name: string; readonly addresses: readonly string[] }[] {
    return this.listeners.live.map(({ name, addresses }) => ({ name, addresses }));
  }

  /** Everything up to the first request: rejects with an OperationError when a port is busy or a registry cannot start. */
  start(): Promise<{ admin: string | null }> {
    return this.#turns.take(async () => {
      try {
        return await this.#start();
      } catch (error) {
        // What `close` did not find, because it was opened after it had looked.
        if (this.#isClosed) await this.close();
        throw error;
      }
    });
  }

  async #start(): Promise<{ admin: string | null }> {
    const document = this.inForce.options;
    const predecessor = this.#options.predecessor ?? null;
    const inheritance = await this.#succession.inherit();
    await this.listeners.reserve(document.listeners);
    (await this.#access.prepare(document.log.access)).commit();
    this.#pools.configure(document.pools);
    this.listeners.configure(document);
    // Where the process before this one still has the address, it goes on answering until this one is ready.
    const isAdminTaken = inheritance?.admin != null && inheritance.admin === document.admin.bind;
    const admin = isAdminTaken ? null : await this.#admin.start(document.admin);
    this.#refuseClosed();
    await this.workers.start();
    await this.#sources.configure(document);
    this.#recent.start();
    this.#ticketKeys.start(() => this.#parts.configureWorkers());
    this.#sweep = setInterval(() => this.#onSweep(), SWEEP_MS);
    await this.#firstSync(document.runtime.startTimeout);
    this.#refuseClosed();
    this.#listening = true;
    await listenEverywhere(this.#parts, predecessor);
    const inherited = isAdminTaken && (await this.#admin.start(document.admin, () => predecessor!.takeAdmin()));
    this.#refuseClosed();
    this.#state.becomeReady();
    if (!this.#ending.hasBegun) this.#registrations.configure(document.listeners);
    this.events.publish({ type: 'ready' });
    predecessor?.ready();
    return { admin: inherited || admin };
  }

  /** Ended while it started: what was waited for may have come because of that. Takes nothing from the process before this one then. */
  #refuseClosed(): void {
    if (this.#isClosed) throw new OperationError('closed', 'this process was ended before it was ready');
  }

  async #firstSync(timeoutMs: number): Promise<void> {
    this.#state.waitFor('the first answer of the registries');
    await within(this.#sources.synced(), timeoutMs);
    const waiting = this.#sources.waiting;
    if (waiting.length > 0)
      this.#log.warn({ pools: waiting }, 'serving before these pools have heard from their registry');
  }

  /** A thread is up and knows nothing. */
  #equip(row: number, withSockets: boolean): void {
    this.workers.post(row, { kind: 'configure', configuration: configurationOf(this.inForce.options, this.#parts) });
    for (const delta of this.#pools.whole()) this.workers.post(row, { kind: 'delta', delta });
    if (!this.#listening) return;
    if (withSockets) sendSockets(this.#parts, row, this.listeners.binds());
    // One that is to take another's place is told of when it has.
    if (!this.workers.serving().includes(row)) return;
    this.events.publish({ type: 'worker-started', worker: this.workers.workerOf(row) });
  }

  #onThreadGone({ worker, row }: { worker: number; row: number }, reason: string, retired: boolean): void {
    this.#pools.workerGone(row);
    this.listeners.retire(row);
    this.#lent.settled(row);
    this.events.publish(retired ? { type: 'worker-retired', worker } : { type: 'worker-died', worker, reason });
    this.#ending.threadGone(row);
  }

  #onSweep(): void {
    this.workers.watch();
    if (!this.#ending.hasBegun) this.#memory.look();
    if (this.#state.ready && !this.#succession.hasBegun) this.#health.look();
    this.#pools.sweep(this.workers.isLate);
  }

  async setEndpoint(pool: string, endpoint: string, change: EndpointChange): Promise<SetEndpointResult> {
    const result = this.#pools.setEndpoint(pool, endpoint, change);
    if (result === 'done') await this.#succession.tellEndpoint(pool, endpoint, change);
    return result;
  }

  explain(question: Question): Explained {
    return explain(question, this.inForce.options.listeners, this.#pools);
  }

  reload(): Promise<ReloadResult> {
    return this.inForce.reload();
  }

  /** Asked by a signal, which nobody gets an answer to: where another process has taken over meanwhile, it is asked. */
  async reloadBySignal(signal: NodeJS.Signals): Promise<void> {
    const { accepted } = await this.reload();
    if (!accepted) this.#succession.passOn(signal);
  }

  judge(text: string, against: string | null): Promise<Judgement> {
    return this.inForce.judge(text, against);
  }

  upgrade(): Promise<UpgradeResult> {
    return this.#succession.upgrade();
  }

  restartWorkers(only?: number, reason = 'asked for'): Promise<RestartResult> {
    const which = only === undefined ? Array.from({ length: this.workers.count }, (_, i) => i) : [only];
    const parts = { workers: this.workers, ending: this.#ending, events: this.events };
    return this.#turns.take(() => restartInTurn(parts, which, reason));
  }

  /** After a rotation of the access log. */
  reopenLogs(): void {
    this.#access.reopen();
  }

  /** How long `drain` and `close` take at most, in ms; longer means that something hangs. */
  get endingMs(): number {
    return this.#ending.timeMs;
  }

  /** Takes no new work and finishes what there is; at the deadline what is left is cut. Resolves when nothing runs any more. */
  drain(reason: string): Promise<void> {
    this.#succession.abort('this process is shutting down');
    return this.#ending.drain(reason);
  }

  /** Ends every connection now. */
  cut(): void {
    this.#ending.cut();
  }

  /** Ends everything, the admin API last. Once more where it was called while `start` was under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#sweep !== null) clearInterval(this.#sweep);
    this.#ticketKeys.close();
    await this.#ending.leaveRegistries();
    await this.workers.close();
    // What was not yet known must not be written over what an earlier process knew.
    if (this.#state.wasReady && !this.#ending.isSucceeded) await this.#health.close();
    this.#pools.close();
    await this.#sources.close();
    this.#recent.close();
    await this.#access.close();
    await this.#admin.close();
  }
}
