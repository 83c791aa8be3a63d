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
import { AdminServer } from '../admin/server.ts';
import { systemClock } from '../base/clock.ts';
import { ConfigError, formatProblem, OperationError } from '../base/errors.ts';
import { systemRandom } from '../base/random.ts';
import type { RegistryContext } from '../discovery/registry.ts';
import { EventCounts } from '../telemetry/event-counts.ts';
import { EventLog } from '../telemetry/event-log.ts';
import type { LiveRoute } from '../telemetry/live-state.ts';
import type { Logger } from '../telemetry/log.ts';
import { Metrics } from '../telemetry/prometheus.ts';
import { RecentTraffic } from '../telemetry/recent-traffic.ts';
import { AccessTarget } from './access-target.ts';
import { Addresses, placeKey } from './addresses.ts';
import { AdminDoor } from './admin-door.ts';
import { affinityKey } from './affinity-key.ts';
import { type DocumentOptions, isSameDocument, type LoadedDocument } from './document.ts';
import { explain } from './explain.ts';
import { PATIENCE_MS } from './hand-over.ts';
import { HealthFile } from './health-file.ts';
import { type JudgeParts, judgeLive } from './judge-live.ts';
import { endForStuckWorker } from './last-resort.ts';
import { LentServers } from './lent-servers.ts';
import { ListenerSet } from './listener-set.ts';
import { MemoryLimit } from './memory-limit.ts';
import type { ToWorker } from './messages.ts';
import { connectionCeiling } from './open-files.ts';
import { PoolSet } from './pool-set.ts';
import type { Predecessor } from './predecessor.ts';
import { Registrations } from './registrations.ts';
import { putInForce, type ReloadParts, sendSockets, within, workerCount } from './reload.ts';
import { RequestWindow } from './request-window.ts';
import { RunningState } from './running-state.ts';
import { Sources } from './sources.ts';
import { TicketKeys } from './ticket-keys.ts';
import { Turns } from './turns.ts';
import { Upgrade } from './upgrade.ts';
import type { Inheritance } from './upgrade-messages.ts';
import { WorkerMail } from './worker-mail.ts';
import { maxWorkers, rowsFor, Workers } from './workers.ts';

/** How often main looks after ejections, budgets and workers. */
const SWEEP_MS = 100;
/** What a drain waits at most for a reload or a restart of workers that is under way. */
const HAND_OVER_MS = 2000;
/** Time for the workers to cut what is left. */
const CUT_MS = 500;
/** What was answered by the admin API as a successor took over has reached its client by then. */
const FAREWELL_MS = 1000;

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
  readonly #workers: Workers;
  readonly #pools: PoolSet;
  readonly #listeners: ListenerSet;
  readonly #sources: Sources;
  readonly #registrations: Registrations;
  readonly #state: RunningState;
  readonly #recent: RecentTraffic;
  readonly #metrics: Metrics;
  #document: LoadedDocument;
  readonly #admin: AdminDoor;
  readonly #lent: LentServers;
  readonly #access: AccessTarget;
  readonly #parts: ReloadParts;
  readonly #mail: WorkerMail;
  readonly #memory: MemoryLimit;
  readonly #health: HealthFile;
  readonly #turns = new Turns();
  readonly #requests = new RequestWindow();
  /** Set by whoever follows a config centre. */
  centre: CentreActs | null = null;
  readonly #ticketKeys = new TicketKeys();
  /** A reload that waits for its turn. */
  #asked: Promise<ReloadResult> | null = null;
  #sweep: NodeJS.Timeout | null = null;
  #listening = false;
  #isDraining = false;
  #upgrade: Upgrade | null = null;
  /** Another process serves in our place. */
  #isSucceeded = false;
  /** What was not yet known must not be written over what an earlier process knew. */
  #wasReady = false;
  #drained = new Set<number>();
  #onDrained: () => void = () => {};

  constructor(options: ControlPlaneOptions) {
    const { document } = options.document;
    this.#options = options;
    this.#document = options.document;
    this.#log = options.log;
    this.events = new EventLog({ log: options.log });
    const counts = new EventCounts(document.admin.endpointSeries);
    this.events.listen(counts.take);
    const count = workerCount(document.runtime);
    const rows = rowsFor(count);
    this.#workers = this.#makeWorkers(count, rows);
    const post = { broadcast: this.#workers.broadcast.bind(this.#workers), rows: () => this.#workers.rows() };
    this.#health = new HealthFile({
      path: join(document.runtime.state, 'health.json'),
      clock: systemClock,
      log: options.log,
      remember: () => this.#pools.remember(),
    });
    this.#pools = new PoolSet(rows, post, this.events, this.#health.recall);
    this.#listeners = new ListenerSet(rows, this.#addresses);
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
      addressOf: (listener) => this.#listeners.addressOf(listener),
    });
    this.#state = new RunningState({
      document: () => this.#document,
      pools: this.#pools,
      listeners: this.#listeners,
      sources: this.#sources,
      workers: this.#workers,
    });
    this.#recent = new RecentTraffic(() => this.#state, systemClock);
    this.#metrics = new Metrics({
      state: () => this.#state,
      counts,
      endpointSeries: document.admin.endpointSeries,
      clock: systemClock,
    });
    this.#access = new AccessTarget(options.log);
    this.#admin = new AdminDoor((place) => this.#makeAdmin(place));
    this.#lent = new LentServers(this.#workers);
    this.#parts = this.#makeParts();
    this.#mail = new WorkerMail(this.#parts, (row) => this.#onThreadDrained(row));
    this.#memory = new MemoryLimit(document.runtime.memory, {
      clock: systemClock,
      memory: () => this.#workers.memory(),
      restart: (worker, bytes) => this.restartWorkers(worker, `its memory, ${Math.round(bytes / 1024 / 1024)} MiB`),
    });
  }

  #makeParts(): ReloadParts {
    return {
      log: this.#log,
      addresses: this.#addresses,
      listeners: this.#listeners,
      pools: this.#pools,
      sources: this.#sources,
      registrations: this.#registrations,
      workers: this.#workers,
      lent: this.#lent,
      admin: this.#admin,
      access: this.#access,
      requests: this.#requests,
      configureLog: async (log) => this.#options.configureLog?.(log),
      adopt: (document) => {
        this.#document = document;
        this.#memory.limit = document.document.runtime.memory;
      },
      configureWorkers: () => this.#workers.broadcast({ kind: 'configure', configuration: this.#configuration() }),
    };
  }

  #makeWorkers(count: number, rows: number): Workers {
    return new Workers({
      count,
      rows,
      maxCount: maxWorkers(count),
      affinityKey: affinityKey(join(this.#document.document.runtime.state, 'affinity.key'), this.#log),
      clock: systemClock,
      chunks: () => this.#pools.slots.buffers,
      onUp: (row, withSockets) => this.#equip(row, withSockets),
      onMessage: (row, message) => this.#mail.take(row, message),
      onGone: (thread, reason, retired) => this.#onThreadGone(thread, reason, retired),
      onStuck: (worker) => endForStuckWorker(worker, this.#log),
      onStalled: (worker, forMs) => this.events.publish({ type: 'worker-stalled', worker, forMs }),
      onRows: (used) => this.#useRows(used),
      onFrozen: (frozen) => this.#pools.freeze(frozen),
    });
  }

  /** What is in force. */
  get document(): LoadedDocument {
    return this.#document;
  }

  /** Addresses clients can use, by listener. */
  get addresses(): readonly { readonly name: string; readonly addresses: readonly string[] }[] {
    return this.#listeners.live.map(({ name, addresses }) => ({ name, addresses }));
  }

  /** What the routes have counted. */
  get routes(): readonly LiveRoute[] {
    return this.#state.routes;
  }

  /** Everything up to the first request: rejects with an OperationError when a port is busy or a registry cannot start. */
  start(): Promise<{ admin: string | null }> {
    return this.#turns.take(() => this.#start());
  }

  async #start(): Promise<{ admin: string | null }> {
    const { document } = this.#document;
    const predecessor = this.#options.predecessor ?? null;
    const inheritance = (await predecessor?.inheritance()) ?? null;
    if (inheritance === null) this.#health.load();
    else this.#inherit(inheritance);
    predecessor?.follow({
      endpoint: (pool, endpoint, change) => {
        this.#pools.followEndpoint(pool, endpoint, change);
        void this.#upgrade?.tell(pool, endpoint, change);
      },
      active: (counts) => this.#pools.countElsewhere(counts),
    });
    await this.#listeners.reserve(document.listeners);
    (await this.#access.prepare(document.log.access)).commit();
    this.#pools.configure(document.pools);
    this.#listeners.configure(document);
    // Where the process before this one still has the address, it goes on answering until this one is ready.
    const isAdminTaken = inheritance?.admin != null && inheritance.admin === document.admin.bind;
    const admin = isAdminTaken ? null : await this.#admin.start(document.admin);
    await this.#workers.start();
    await this.#sources.configure(document);
    this.#recent.start();
    this.#ticketKeys.start(() => this.#parts.configureWorkers());
    this.#sweep = setInterval(() => this.#onSweep(), SWEEP_MS);
    await this.#firstSync(document.runtime.startTimeout);
    this.#listening = true;
    await this.#listen(predecessor);
    const inherited = isAdminTaken && (await this.#admin.start(document.admin, () => predecessor!.takeAdmin()));
    this.#state.becomeReady();
    this.#wasReady = true;
    if (!this.#isDraining) this.#registrations.configure(document.listeners);
    this.events.publish({ type: 'ready' });
    predecessor?.ready();
    return { admin: inherited || admin };
  }

  #inherit({ addresses, health, overrides, ticketKeys }: Inheritance): void {
    this.#addresses.inherit(addresses);
    this.#health.inherit(health);
    this.#pools.inherit(overrides);
    this.#ticketKeys.inherit(ticketKeys);
  }

  #inheritance(): Inheritance {
    return {
      addresses: this.#addresses.all,
      admin: this.#admin.bind,
      health: this.#pools.remember(),
      overrides: this.#pools.overrides(),
      ticketKeys: Buffer.from(this.#ticketKeys.current).toString('base64'),
    };
  }

  /** Every worker gets a socket on every address: one that the process before this one listened on, as long as there are any, else one of its own. */
  async #listen(predecessor: Predecessor | null): Promise<void> {
    const places = this.#listeners.binds();
    const rows = this.#workers.serving();
    const streams = places.filter(({ transport }) => transport === 'tcp');
    const given = new Map<string, number>(streams.map((place) => [placeKey(place), 0]));
    await predecessor?.takeListeners([...given.keys()], (key, server) => {
      const place = streams.find((one) => placeKey(one) === key)!;
      const count = given.get(key) ?? 0;
      given.set(key, count + 1);
      this.#workers.post(rows[count % rows.length], { kind: 'adopt', ...place, server });
    });
    for (const [i, row] of rows.entries())
      for (const place of places) {
        const at = this.#addresses;
        if (place.transport === 'udp') this.#workers.post(row, { kind: 'listen-udp', place, at: at.reserved(place) });
        else if (given.get(placeKey(place))! <= i)
          this.#workers.post(row, { kind: 'listen', ...place, socket: at.socket(place) });
      }
    await this.#listeners.allListening(rows.length);
  }

  #makeAdmin(place: { host: string; port: number; token: string }): AdminServer {
    return new AdminServer({
      ...place,
      log: this.#log,
      state: () => this.#state,
      control: this,
      metrics: this.#metrics,
      recent: this.#recent,
      events: this.events,
      clock: systemClock,
      version: this.#options.version,
    });
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
    this.#workers.post(row, { kind: 'configure', configuration: this.#configuration() });
    for (const delta of this.#pools.whole()) this.#workers.post(row, { kind: 'delta', delta });
    if (!this.#listening || !withSockets) return;
    sendSockets(this.#parts, row, this.#listeners.binds());
    this.events.publish({ type: 'worker-started', worker: this.#workers.workerOf(row) });
  }

  #configuration() {
    const { runtime, log } = this.#document.document;
    return {
      pools: this.#pools.forWorkers(),
      listeners: this.#listeners.forWorkers(),
      connections: runtime.connections === 'auto' ? connectionCeiling() : runtime.connections,
      fastPath: runtime.fastPath === 'auto',
      access: log.access === null ? null : { query: log.query },
      decisions: log.decisions ?? 0,
      sample: log.sample,
      ticketKeys: this.#ticketKeys.current,
    };
  }

  #onThreadGone({ worker, row }: { worker: number; row: number }, reason: string, retired: boolean): void {
    this.#pools.workerGone(row);
    this.#listeners.retire(row);
    this.#drained.delete(row);
    this.events.publish(retired ? { type: 'worker-retired', worker } : { type: 'worker-died', worker, reason });
    this.#tellWhenDrained();
  }

  #useRows(used: number): void {
    this.#pools.slots.table.usedRows = used;
    this.#workers.broadcast({ kind: 'rows', used });
  }

  #onSweep(): void {
    this.#workers.watch();
    if (!this.#isDraining) this.#memory.look();
    if (this.#state.ready && this.#upgrade === null) this.#health.look();
    this.#pools.sweep(this.#workers.isLate);
  }

  async setEndpoint(pool: string, endpoint: string, change: EndpointChange): Promise<SetEndpointResult> {
    const result = this.#pools.setEndpoint(pool, endpoint, change);
    if (result !== 'done') return result;
    await this.#upgrade?.tell(pool, endpoint, change);
    await this.#options.predecessor?.tell(pool, endpoint, change);
    return result;
  }

  /** The process that took over was asked for it. */
  async #followEndpoint(pool: string, endpoint: string, change: EndpointChange): Promise<void> {
    this.#pools.followEndpoint(pool, endpoint, change);
    await this.#options.predecessor?.tell(pool, endpoint, change);
  }

  explain(question: Question): Explained {
    return explain(question, this.#document.document.listeners, this.#pools);
  }

  /** A reload that waits for its turn will read what is there then: one is enough, however many ask for it. */
  reload(): Promise<ReloadResult> {
    this.#asked ??= this.#turns.take(() => {
      this.#asked = null;
      return this.#reload();
    });
    return this.#asked;
  }

  async #reload(): Promise<ReloadResult> {
    const before = this.#document;
    try {
      this.#refuseWhileEnding();
      this.events.publish({ type: 'reloading' });
      await putInForce(this.#parts, before, await this.#options.reread());
    } catch (error) {
      return this.#refuse(error);
    }
    const isChanged = !isSameDocument(before, this.#document);
    this.#state.accepted();
    const { configVersion: version, configVersionNumber: versionNumber } = this.#state;
    this.events.publish({ type: 'reloaded', version, versionNumber });
    return { accepted: true, version, versionNumber, isChanged };
  }

  /** Resolves when the new process serves, or when it is sure that it will not. One at a time: a second one is refused at once. */
  async upgrade(): Promise<UpgradeResult> {
    const refusal = this.#upgradeRefusal();
    if (refusal !== null) return { upgraded: false, message: refusal, problems: [] };
    const child = this.#options.startSuccessor!();
    const parts = {
      lent: this.#lent,
      sources: this.#sources,
      admin: this.#admin,
      inheritance: () => this.#inheritance(),
      active: () => this.#pools.active(),
      setEndpoint: this.#followEndpoint.bind(this),
    };
    const upgrade = new Upgrade(parts, child);
    this.#upgrade = upgrade;
    this.events.publish({ type: 'upgrading', pid: upgrade.pid });
    return this.#turns.take(() => this.#runUpgrade(upgrade));
  }

  async #runUpgrade(upgrade: Upgrade): Promise<UpgradeResult> {
    const { pid } = upgrade;
    try {
      await upgrade.run(this.#document.document.runtime.upgradeTimeout);
    } catch (error) {
      const problems = error instanceof ConfigError ? error.problems : [];
      const message = error instanceof Error ? error.message : String(error);
      this.#upgrade = null;
      this.events.publish({ type: 'upgrade-failed', reason: message });
      return { upgraded: false, message, problems };
    }
    this.#isSucceeded = true;
    this.events.publish({ type: 'upgraded', pid });
    return { upgraded: true, pid };
  }

  /** Why there can be no upgrade now; null when there can. */
  #upgradeRefusal(): string | null {
    if (this.#options.startSuccessor === undefined) return 'this program cannot be upgraded while it runs';
    // With the first process of a container all others end.
    if (process.pid === 1)
      return 'this process is the first of its container, which would end with it; replace the container';
    if (this.#isDraining) return 'this process is shutting down';
    if (this.#upgrade !== null) return `an upgrade is under way: process ${this.#upgrade.pid}`;
    return this.#wasReady ? null : 'this process is not ready yet';
  }

  judge(text: string, against: string | null): Promise<Judgement> {
    const parts = { ...this.#parts, read: this.#options.read, samples: () => this.#requests.samples };
    return this.#turns.take(() => judgeLive(text, against, this.#document, parts));
  }

  /** One after the other, each when its predecessor's sockets have been taken over. Ends at the first that cannot be restarted now. */
  restartWorkers(only?: number, reason = 'asked for'): Promise<RestartResult> {
    return this.#turns.take(async () => {
      const restarted: number[] = [];
      const workers = only === undefined ? Array.from({ length: this.#workers.count }, (_, i) => i) : [only];
      try {
        this.#refuseWhileEnding();
        for (const worker of workers) {
          await this.#workers.restart(worker);
          restarted.push(worker);
          this.events.publish({ type: 'worker-restarted', worker, reason });
        }
        return { restarted, message: null };
      } catch (error) {
        return { restarted, message: error instanceof Error ? error.message : String(error) };
      }
    });
  }

  #refuseWhileEnding(): void {
    if (this.#isSucceeded) throw new OperationError('succeeded', 'another process has taken over');
    if (this.#isDraining) throw new OperationError('draining', 'this process is shutting down');
  }

  #refuse(error: unknown): ReloadResult {
    const problems = error instanceof ConfigError ? error.problems : [];
    const message = error instanceof Error ? error.message : String(error);
    this.events.publish({
      type: 'reload-refused',
      problems: problems.length > 0 ? problems.map(formatProblem) : [message],
    });
    return { accepted: false, message, problems };
  }

  /** After a rotation of the access log. */
  reopenLogs(): void {
    this.#access.reopen();
  }

  /** How long `drain` and `close` take at most, in ms; longer means that something hangs. */
  get endingMs(): number {
    const { announce, drain } = this.#document.document.runtime;
    return announce + HAND_OVER_MS + drain + CUT_MS + FAREWELL_MS;
  }

  /** Ends a worker as a fault would, or blocks its loop: for tests of what follows. */
  injectFault(worker: number, fault: Extract<ToWorker, { kind: 'die' | 'hang' | 'stall' }>): void {
    const row = this.#workers.rowOf(worker);
    if (row !== null) this.#workers.post(row, fault);
  }

  /** Ends the thread that waits to step in. */
  injectSpareFault(): void {
    this.#workers.injectSpareFault();
  }

  /** Not ready, then no new connections, then none at all; at the deadline what is left is cut. Resolves when nothing runs any more. */
  async drain(reason: string): Promise<void> {
    const { announce, drain } = this.#document.document.runtime;
    this.#isDraining = true;
    this.#upgrade?.abort('this process is shutting down');
    this.#state.draining(reason);
    this.events.publish({ type: 'draining', reason });
    await this.#leaveRegistries();
    if (announce > 0 && !this.#isSucceeded) await new Promise((resolve) => setTimeout(resolve, announce));
    // A hand-over of sockets that is under way ends first.
    await within(
      this.#turns.take(async () => {}),
      HAND_OVER_MS,
    );
    this.#workers.ending();
    const done = new Promise<void>((resolve) => {
      this.#onDrained = resolve;
    });
    // Nobody waits for a process that has a successor.
    this.#workers.broadcast({ kind: 'drain', patienceMs: this.#isSucceeded ? PATIENCE_MS : 0 });
    const deadline = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      this.#log.warn({ connections: this.#listeners.connections }, 'the drain deadline is over: cutting what is left');
      deadline.resolve();
    }, drain);
    // What the process before this one says to our successor, it says through us.
    const isAlone = this.#isSucceeded ? this.#options.predecessor?.gone : null;
    await Promise.race([Promise.all([done, isAlone]), deadline.promise]);
    clearTimeout(timer);
    // Workers say when they have cut: a thread that is ended before closes its sockets with FIN, and a cut body would look whole.
    this.cut();
    await within(done, CUT_MS);
    if (this.#isSucceeded) await within(deadline.promise, FAREWELL_MS);
  }

  /** A successor is registered under the same IDs: what this process took back would be the successor's. */
  async #leaveRegistries(): Promise<void> {
    if (this.#isSucceeded) this.#registrations.abandon();
    else await this.#registrations.leave();
  }

  /** Ends every connection now. */
  cut(): void {
    this.#workers.broadcast({ kind: 'cut' });
  }

  #onThreadDrained(row: number): void {
    this.#drained.add(row);
    this.#tellWhenDrained();
  }

  #tellWhenDrained(): void {
    if (this.#workers.rows().every((row) => this.#drained.has(row))) this.#onDrained();
  }

  /** Ends everything, the admin API last. */
  async close(): Promise<void> {
    if (this.#sweep !== null) clearInterval(this.#sweep);
    this.#ticketKeys.close();
    await this.#leaveRegistries();
    await this.#workers.close();
    if (this.#wasReady && !this.#isSucceeded) await this.#health.close();
    this.#pools.close();
    await this.#sources.close();
    this.#recent.close();
    await this.#access.close();
    await this.#admin.close();
  }
}
