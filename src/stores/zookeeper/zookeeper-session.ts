import { Backoff } from '../../base/backoff.ts';
import type { Clock } from '../../base/clock.ts';
import { OperationError } from '../../base/errors.ts';
import { type Random, randomIndex } from '../../base/random.ts';
import type { ClientTls } from '../client-tls.ts';
import type { ConnectString } from './connect-string.ts';
import type { JuteReader } from './jute.ts';
import {
  type Established,
  Failure,
  type NodeAccess,
  type NodeStat,
  Op,
  readRefusal,
  readStat,
  writeAccess,
  writeStep,
  Xid,
} from './messages.ts';
import { type Watcher, type WatchSort, WatchTable } from './watch-table.ts';
import { type JuteWriterOf, ZookeeperConnection } from './zookeeper-connection.ts';

const NO_PASSWORD = Buffer.alloc(16);

/** Ceiling of the time between two attempts to connect, in ms. */
const RECONNECT_MAX_MS = 3000;

export interface SessionOptions {
  readonly address: ConnectString;
  /** How long a server keeps the session of a client it does not hear from; servers bound it to 2…20 of their ticks. */
  readonly timeoutMs: number;
  /** `user:password`, sent as digest on every connection; '' for none. */
  readonly auth: string;
  /** Null for plain TCP. */
  readonly tls: ClientTls | null;
  readonly clock: Clock;
  readonly random: Random;
}

export interface SessionEvents {
  /**
   * Requests are answered again. `isNew`: it is a new session, so watches and ephemeral nodes of the one before are gone and everything has to be read anew;
   * otherwise they are all there, and what happened meanwhile is told to the watches.
   */
  connected(isNew: boolean): void;
  /** The connection is gone. The session is not, nor are its ephemeral nodes. */
  disconnected(error: OperationError): void;
  /** Every server was tried since and none takes us. Called once, until the next `connected`. */
  lost(error: OperationError): void;
}

/**
 * A client's session with a ZooKeeper ensemble, over one connection at a time: finds a server that takes it, pings, moves to another one with the same session and
 * its watches, begins a new session when the old one has expired. Used by the registry kind `zookeeper`; knows nothing of endpoints.
 *
 * Requests reject with an OperationError: while there is no connection at once (`registry-unreachable`), `registry-denied` without the right to do so. After a
 * rejection with a connection's end nobody knows whether a write was done. Opens nothing before `start`; after `close` nothing is told.
 */
export class ZookeeperSession {
  readonly #options: SessionOptions;
  readonly #events: SessionEvents;
  readonly #watches = new WatchTable();
  readonly #backoff: Backoff;
  #connection: ZookeeperConnection | null = null;
  #isConnected = false;
  #closed = false;
  #timer: NodeJS.Timeout | null = null;
  #next: number;
  #sessionId = 0n;
  #password: Buffer = NO_PASSWORD;
  /** The newest transaction we have seen: a server that is behind it must not serve us, and watches tell of everything after it. */
  #lastZxid = 0n;
  /** Attempts that failed since the last connection. */
  #failures = 0;
  /** Of these, the servers that closed the connection instead of answering. */
  #dismissals = 0;
  #connectedMs = 0;
  #lostMs = 0;
  #isLost = false;
  #failure: OperationError | null = null;

  constructor(options: SessionOptions, events: SessionEvents) {
    this.#options = options;
    this.#events = events;
    this.#backoff = new Backoff(200, RECONNECT_MAX_MS, options.random);
    // Clients that start together do not all begin with the same server.
    this.#next = randomIndex(options.random, options.address.servers.length);
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** 0n while there is none. */
  get id(): bigint {
    return this.#sessionId;
  }

  /** Why no server takes us; null while one does, and until all were tried. */
  get failure(): OperationError | null {
    return this.#isLost ? this.#failure : null;
  }

  start(): void {
    this.#lostMs = this.#options.clock.now();
    this.#attempt();
  }

  /** Data of a node, null where there is none (which leaves no watch: see `exists`). */
  get(path: string, watcher?: Watcher): Promise<{ readonly data: Buffer; readonly stat: NodeStat } | null> {
    return this.#read(Op.GET_DATA, 'data', path, watcher, (reader) => ({
      data: Buffer.from(reader.bytes()),
      stat: readStat(reader),
    }));
  }

  /** Names of the nodes directly below, in no order; null where the node is not there (which leaves no watch). */
  children(path: string, watcher?: Watcher): Promise<{ readonly names: string[]; readonly stat: NodeStat } | null> {
    return this.#read(Op.GET_CHILDREN, 'children', path, watcher, (reader) => ({
      names: reader.texts(),
      stat: readStat(reader),
    }));
  }

  /** Leaves its watch also where there is no node: it is told when one is created. */
  exists(path: string, watcher?: Watcher): Promise<NodeStat | null> {
    return this.#read(Op.EXISTS, 'exists', path, watcher, readStat);
  }

  /** Forgets a watch of any sort. */
  unwatch(path: string, watcher: Watcher): void {
    this.#watches.remove(this.#full(path), watcher);
  }

  /** Replaces a node's data. With a `version`, only when that is still its version: null then says that it is not, or that there is no node. */
  set(path: string, data: Uint8Array, version = -1): Promise<NodeStat | null> {
    const full = this.#full(path);
    return this.#request(
      Op.SET_DATA,
      (writer) => writer.text(full).bytes(data).int(version),
      (failure, reader) => {
        if (failure === Failure.NO_NODE || failure === Failure.BAD_VERSION) return null;
        check(failure, `write ${path}`);
        return readStat(reader);
      },
    );
  }

  /** Whether the node was created; false: there is one already. Its parents must be there (see `ensure`), else it rejects with `registry-unknown`. */
  create(
    path: string,
    data: Uint8Array,
    { isEphemeral = false, access = 'open' }: { isEphemeral?: boolean; access?: NodeAccess } = {},
  ): Promise<boolean> {
    return this.#create(this.#full(path), data, isEphemeral ? 1 : 0, access);
  }

  /** Removes a node and creates it anew in one step, so that nobody finds it missing; false: somebody else was faster, and nothing was done. */
  replace(
    path: string,
    data: Uint8Array,
    { isEphemeral = false, access = 'open' }: { isEphemeral?: boolean; access?: NodeAccess } = {},
  ): Promise<boolean> {
    const full = this.#full(path);
    return this.#request(
      Op.MULTI,
      (writer) => {
        writeStep(writer, Op.DELETE).text(full).int(-1);
        writeAccess(writeStep(writer, Op.CREATE).text(full).bytes(data), access).int(isEphemeral ? 1 : 0);
        return writeStep(writer, null);
      },
      (failure, reader) => {
        const refused = failure === Failure.NONE ? readRefusal(reader) : failure;
        if (refused !== Failure.NO_NODE && refused !== Failure.NODE_EXISTS) check(refused, `replace ${path}`);
        return refused === Failure.NONE;
      },
    );
  }

  /** Creates what is missing on the way to a node, and the node, all persistent and without data. */
  async ensure(path: string, access: NodeAccess = 'open'): Promise<void> {
    let full = '';
    for (const step of this.#full(path).split('/').slice(1)) {
      full += `/${step}`;
      if (!(await this.#isThere(full))) await this.#create(full, Buffer.alloc(0), 0, access);
    }
  }

  /** Whether the node is gone now; false: its version is another one. Rejects when it has children. */
  delete(path: string, version = -1): Promise<boolean> {
    const full = this.#full(path);
    return this.#request(
      Op.DELETE,
      (writer) => writer.text(full).int(version),
      (failure) => {
        if (failure === Failure.BAD_VERSION) return false;
        if (failure !== Failure.NO_NODE) check(failure, `delete ${path}`);
        return true;
      },
    );
  }

  /** Ends the session, so that its ephemeral nodes go at once. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#isConnected = false;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#watches.clear();
    await this.#connection?.bye();
    this.#connection = null;
  }

  #attempt(): void {
    const { address, timeoutMs, tls, clock } = this.#options;
    const { servers } = address;
    const server = servers[this.#next++ % servers.length];
    const connection = new ZookeeperConnection(
      {
        server,
        tls,
        clock,
        attemptMs: Math.min(5000, Math.max(1000, (timeoutMs * 2) / 3 / servers.length)),
        handshake: { lastZxid: this.#lastZxid, timeoutMs, sessionId: this.#sessionId, password: this.#password },
      },
      {
        established: (answer) => this.#established(connection, answer),
        event: (event) => this.#watches.fire(event),
        seen: (zxid) => {
          if (zxid > this.#lastZxid) this.#lastZxid = zxid;
        },
        ended: (error) => this.#ended(connection, error),
      },
    );
    this.#connection = connection;
  }

  #established(connection: ZookeeperConnection, { timeoutMs, sessionId, password }: Established): void {
    if (timeoutMs <= 0 || sessionId === 0n) {
      connection.end();
      this.#connection = null;
      this.#forget();
      // This server answers: the new session begins with it.
      this.#next--;
      this.#schedule(0);
      return;
    }
    const isNew = this.#sessionId === 0n;
    this.#sessionId = sessionId;
    this.#password = password;
    this.#failures = 0;
    this.#dismissals = 0;
    this.#isLost = false;
    this.#isConnected = true;
    this.#connectedMs = this.#options.clock.now();
    const { auth } = this.#options;
    if (auth !== '')
      connection.notify(Xid.AUTH, Op.AUTH, (writer) => writer.int(0).text('digest').bytes(Buffer.from(auth)));
    this.#setWatchesAgain(connection);
    this.#events.connected(isNew);
  }

  /** Before anything else is asked on the connection: every answer raises the transaction after which the server tells of changes. */
  #setWatchesAgain(connection: ZookeeperConnection): void {
    const since = this.#lastZxid;
    for (const { data, exists, children } of this.#watches.batches())
      connection.notify(Xid.SET_WATCHES, Op.SET_WATCHES, (writer) =>
        writer.long(since).texts(data).texts(exists).texts(children),
      );
  }

  #ended(connection: ZookeeperConnection, error: OperationError): void {
    if (this.#closed || connection !== this.#connection) return;
    this.#connection = null;
    this.#failure = error;
    const { address, clock, timeoutMs } = this.#options;
    if (this.#isConnected) {
      this.#isConnected = false;
      const now = clock.now();
      if (now - this.#connectedMs > RECONNECT_MAX_MS) this.#backoff.reset();
      this.#lostMs = now;
      this.#events.disconnected(error);
    } else this.#failures++;
    if (connection.wasDismissed) this.#dismissals++;
    // A server that lost its data refuses everybody who has seen more than it knows, for ever: then a session that must be over by now is given up.
    const isHopeless = this.#dismissals > address.servers.length && clock.now() - this.#lostMs > timeoutMs;
    if (this.#sessionId !== 0n && isHopeless) this.#forget();
    if (!this.#isLost && this.#failures >= address.servers.length) {
      this.#isLost = true;
      this.#events.lost(error);
    }
    this.#schedule(this.#backoff.next());
  }

  /** The session is over: nothing of it is left, neither watches nor ephemeral nodes. */
  #forget(): void {
    this.#sessionId = 0n;
    this.#password = NO_PASSWORD;
    this.#lastZxid = 0n;
    this.#dismissals = 0;
    this.#watches.clear();
  }

  #schedule(ms: number): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#attempt();
    }, ms);
  }

  #full(path: string): string {
    const { chroot } = this.#options.address;
    return path === '/' && chroot !== '' ? chroot : chroot + path;
  }

  #read<T>(
    op: number,
    sort: WatchSort,
    path: string,
    watcher: Watcher | undefined,
    read: (reader: JuteReader) => T,
  ): Promise<T | null> {
    const full = this.#full(path);
    return this.#request(
      op,
      (writer) => writer.text(full).bool(watcher !== undefined),
      (failure, reader) => {
        const isAbsent = failure === Failure.NO_NODE;
        if (!isAbsent) check(failure, `read ${path}`);
        if (watcher !== undefined && (!isAbsent || sort === 'exists')) this.#watches.add(sort, full, watcher);
        return isAbsent ? null : read(reader);
      },
    );
  }

  #isThere(full: string): Promise<boolean> {
    return this.#request(
      Op.EXISTS,
      (writer) => writer.text(full).bool(false),
      (failure) => {
        if (failure !== Failure.NO_NODE) check(failure, `read ${full}`);
        return failure === Failure.NONE;
      },
    );
  }

  #create(full: string, data: Uint8Array, flags: number, access: NodeAccess): Promise<boolean> {
    return this.#request(
      Op.CREATE,
      (writer) => writeAccess(writer.text(full).bytes(data), access).int(flags),
      (failure) => {
        if (failure !== Failure.NODE_EXISTS) check(failure, `create ${full}`);
        return failure === Failure.NONE;
      },
    );
  }

  #request<T>(op: number, body: JuteWriterOf, decode: (failure: number, reader: JuteReader) => T): Promise<T> {
    if (this.#isConnected && this.#connection !== null) return this.#connection.request(op, body, decode);
    if (this.#closed) return Promise.reject(new OperationError('registry-closed', 'the session was closed'));
    const why = this.#failure?.message ?? 'not connected to ZooKeeper yet';
    return Promise.reject(new OperationError('registry-unreachable', why, { retryable: true }));
  }
}

/** Throws unless the server did what it was asked. */
function check(failure: number, act: string): void {
  if (failure === Failure.NONE) return;
  if (failure === Failure.NO_AUTH || failure === Failure.INVALID_ACL)
    throw new OperationError('registry-denied', `ZooKeeper does not let us ${act}; set the registry's auth`);
  if (failure === Failure.NO_NODE)
    throw new OperationError('registry-unknown', `cannot ${act}: a node above is missing`);
  if (failure === Failure.SESSION_EXPIRED)
    throw new OperationError('registry-unreachable', `the session is over; cannot ${act}`, { retryable: true });
  throw new OperationError('registry-error', `ZooKeeper refuses to ${act} (code ${failure})`, {
    // Codes above -100 are the system's: connection, timeout, ensemble.
    retryable: failure > -100,
  });
}
