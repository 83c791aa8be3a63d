import { JuteReader, JuteWriter } from './jute.ts';

/** Numbers of ZooKeeper's requests (ZooDefs.OpCode). */
export const Op = {
  CREATE: 1,
  DELETE: 2,
  EXISTS: 3,
  GET_DATA: 4,
  SET_DATA: 5,
  PING: 11,
  GET_CHILDREN: 12,
  MULTI: 14,
  AUTH: 100,
  SET_WATCHES: 101,
  CLOSE: -11,
} as const;

/** Numbers of requests that are not counted: their answers come between those of the others. */
export const Xid = { EVENT: -1, PING: -2, AUTH: -4, SET_WATCHES: -8 } as const;

/** Codes of failures (KeeperException.Code) that are told apart. */
export const Failure = {
  NONE: 0,
  NO_NODE: -101,
  NO_AUTH: -102,
  BAD_VERSION: -103,
  NODE_EXISTS: -110,
  NOT_EMPTY: -111,
  SESSION_EXPIRED: -112,
  INVALID_ACL: -114,
  AUTH_FAILED: -115,
} as const;

/** Kinds of watch events (Watcher.Event.EventType). */
export const EventType = { CREATED: 1, DELETED: 2, DATA: 3, CHILDREN: 4 } as const;

/** What ZooKeeper knows of a node besides its data. */
export interface NodeStat {
  /** Transaction that created it: another one is another node of the same name. */
  readonly czxid: bigint;
  readonly mzxid: bigint;
  /** Of the data, counted from 0: what compare-and-set goes by. */
  readonly version: number;
  /** Session whose end removes the node; 0n for a persistent one. */
  readonly ephemeralOwner: bigint;
  readonly numChildren: number;
}

/** Answer to a connect request. `timeoutMs` of 0 or less: the session is over. */
export interface Established {
  readonly timeoutMs: number;
  readonly sessionId: bigint;
  readonly password: Buffer;
  /** The server has lost its ensemble and serves reads only. */
  readonly isReadOnly: boolean;
}

export interface Handshake {
  readonly lastZxid: bigint;
  readonly timeoutMs: number;
  /** 0n for a new session. */
  readonly sessionId: bigint;
  readonly password: Buffer;
}

export function connectFrame({ lastZxid, timeoutMs, sessionId, password }: Handshake): Buffer {
  // Not willing to be served by a read-only server: what it says may be long out of date.
  return new JuteWriter().int(0).long(lastZxid).int(timeoutMs).long(sessionId).bytes(password).bool(false).frame();
}

export function readEstablished(frame: Buffer): Established {
  const reader = new JuteReader(frame);
  reader.int();
  const timeoutMs = reader.int();
  const sessionId = reader.long();
  const password = Buffer.from(reader.bytes());
  // Servers before 3.4 do not say.
  return { timeoutMs, sessionId, password, isReadOnly: reader.left > 0 && reader.bool() };
}

export function readStat(reader: JuteReader): NodeStat {
  const czxid = reader.long();
  const mzxid = reader.long();
  reader.long(); // ctime
  reader.long(); // mtime
  const version = reader.int();
  reader.int(); // cversion
  reader.int(); // aversion
  const ephemeralOwner = reader.long();
  reader.int(); // dataLength
  const numChildren = reader.int();
  reader.long(); // pzxid
  return { czxid, mzxid, version, ephemeralOwner, numChildren };
}

/** Who may do what with a node: everybody everything, or everything for who is authenticated on this session and reading for all others. */
export type NodeAccess = 'open' | 'creator';

export function writeAccess(writer: JuteWriter, access: NodeAccess): JuteWriter {
  const ALL = 31;
  const READ = 1;
  if (access === 'open') return writer.int(1).int(ALL).text('world').text('anyone');
  return writer.int(2).int(ALL).text('auth').text('').int(READ).text('world').text('anyone');
}

/** What comes before each request of several that are done together or not at all; null: there are no more. */
export function writeStep(writer: JuteWriter, op: number | null): JuteWriter {
  return writer
    .int(op ?? -1)
    .bool(op === null)
    .int(-1);
}

/** Why several requests were not done: the first code that is none of "another one failed". */
export function readRefusal(reader: JuteReader): number {
  const ROLLED_BACK = -2;
  for (;;) {
    const op = reader.int();
    const isLast = reader.bool();
    reader.int();
    if (isLast) return Failure.NONE;
    if (op === Op.CREATE) reader.text();
    if (op !== -1) continue;
    const failure = reader.int();
    if (failure !== Failure.NONE && failure !== ROLLED_BACK) return failure;
  }
}

/** One event of a watch, with the path as the server knows it. */
export interface WatchEvent {
  readonly type: number;
  readonly path: string;
}

export function readEvent(reader: JuteReader): WatchEvent {
  const type = reader.int();
  reader.int(); // state of the session
  return { type, path: reader.text() };
}
