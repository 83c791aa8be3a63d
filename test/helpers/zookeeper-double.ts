import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { JuteReader, JuteWriter } from '../../src/stores/zookeeper/jute.ts';
import { EventType, Failure, Op } from '../../src/stores/zookeeper/messages.ts';

/** A server that speaks as much of ZooKeeper's protocol as our client does, for laws and for what a real server cannot be made to do. Ephemeral nodes are kept for ever. */
export interface ZookeeperDouble {
  readonly port: number;
  /** Names of the requests it was sent, in order: `GET_DATA /a`; pings left out. */
  readonly asked: readonly string[];
  put(path: string, data: string): void;
  remove(path: string): void;
  /** Answers no handshake and no request, as a server that froze. */
  isSilent: boolean;
  /** Forgets every session: the next handshake of each is told that it is over. */
  expireAll(): void;
  /** Ends every connection. */
  cut(): void;
  /** Says in handshakes that it serves reads only. */
  isReadOnly: boolean;
  /** The newest transaction it admits to; clients that have seen more are refused. */
  zxid: bigint;
  close(): Promise<void>;
}

interface Node {
  data: Buffer;
  czxid: bigint;
  mzxid: bigint;
  version: number;
  owner: bigint;
}

interface Peer {
  readonly socket: Socket;
  sessionId: bigint;
  /** `children /a`, `data /a` */
  readonly watches: Set<string>;
}

const NAMES = Object.fromEntries(Object.entries(Op).map(([name, op]) => [op, name]));

export async function startZookeeperDouble(): Promise<ZookeeperDouble> {
  const nodes = new Map<string, Node>();
  const peers = new Set<Peer>();
  const sessions = new Set<bigint>();
  const asked: string[] = [];
  let lastSession = 0n;
  const server = createServer((socket) => {
    const peer: Peer = { socket, sessionId: 0n, watches: new Set() };
    peers.add(peer);
    let buffered: Buffer = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('close', () => peers.delete(peer));
    socket.on('data', (chunk: Buffer) => {
      buffered = Buffer.concat([buffered, chunk]);
      while (buffered.length >= 4 && buffered.length >= buffered.readInt32BE() + 4) {
        const frame = buffered.subarray(4, buffered.readInt32BE() + 4);
        buffered = buffered.subarray(frame.length + 4);
        if (!double.isSilent) take(peer, new JuteReader(frame));
      }
    });
  });

  function take(peer: Peer, reader: JuteReader): void {
    if (peer.sessionId === 0n) return welcome(peer, reader);
    const xid = reader.int();
    const op = reader.int();
    const answer = new JuteWriter().int(xid).long(double.zxid);
    if (op === Op.PING) return void peer.socket.write(answer.int(0).frame());
    const path = op === Op.SET_WATCHES || op === Op.AUTH || op === Op.CLOSE ? '' : reader.text();
    asked.push(`${NAMES[op]} ${path}`.trim());
    if (op === Op.SET_WATCHES) setWatches(peer, reader);
    peer.socket.write(answered(peer, op, path, reader, answer).frame());
    if (op === Op.CLOSE) peer.socket.end();
  }

  function welcome(peer: Peer, reader: JuteReader): void {
    reader.int();
    const seen = reader.long();
    const timeoutMs = reader.int();
    const wanted = reader.long();
    asked.push(`CONNECT ${wanted === 0n ? 'new' : 'again'} ${seen > 0n ? 'later' : 'fresh'}`);
    if (seen > double.zxid) return void peer.socket.destroy();
    const isOver = wanted !== 0n && !sessions.has(wanted);
    peer.sessionId = wanted === 0n ? ++lastSession : wanted;
    if (!isOver) sessions.add(peer.sessionId);
    const answer = new JuteWriter().int(0).int(isOver ? 0 : timeoutMs);
    answer
      .long(isOver ? 0n : peer.sessionId)
      .bytes(Buffer.alloc(16))
      .bool(double.isReadOnly);
    peer.socket.write(answer.frame());
  }

  function answered(peer: Peer, op: number, path: string, reader: JuteReader, answer: JuteWriter): JuteWriter {
    const node = nodes.get(path);
    if (op === Op.CREATE) {
      const data = Buffer.from(reader.bytes());
      if (node !== undefined) return answer.int(Failure.NODE_EXISTS);
      put(path, data, peer.sessionId);
      return answer.int(0).text(path);
    }
    if (op === Op.SET_WATCHES || op === Op.AUTH || op === Op.CLOSE) return answer.int(0);
    const isWatched = op !== Op.DELETE && op !== Op.SET_DATA && reader.bool();
    if (isWatched && (node !== undefined || op === Op.EXISTS))
      peer.watches.add(`${op === Op.GET_CHILDREN ? 'children' : 'data'} ${path}`);
    if (node === undefined) return answer.int(Failure.NO_NODE);
    if (op === Op.DELETE) remove(path);
    answer.int(0);
    if (op === Op.GET_DATA) answer.bytes(node.data);
    if (op === Op.GET_CHILDREN) answer.texts(childrenOf(path));
    if (op === Op.SET_DATA) put(path, Buffer.from(reader.bytes()), node.owner);
    return op === Op.DELETE ? answer : stat(answer, node);
  }

  function setWatches(peer: Peer, reader: JuteReader): void {
    const since = reader.long();
    const [data, exists, children] = [reader.texts(), reader.texts(), reader.texts()];
    for (const path of [...data, ...exists]) {
      const node = nodes.get(path);
      if (node !== undefined && node.mzxid > since) event(peer, EventType.DATA, path);
      else peer.watches.add(`data ${path}`);
    }
    for (const path of children) peer.watches.add(`children ${path}`);
  }

  function put(path: string, data: Buffer, owner: bigint): void {
    const zxid = ++double.zxid;
    const node = nodes.get(path);
    nodes.set(path, { data, czxid: node?.czxid ?? zxid, mzxid: zxid, version: (node?.version ?? -1) + 1, owner });
    fire(`data ${path}`, node === undefined ? EventType.CREATED : EventType.DATA, path);
    if (node === undefined) fireParent(path);
  }

  function remove(path: string): void {
    double.zxid++;
    nodes.delete(path);
    fire(`data ${path}`, EventType.DELETED, path);
    fireParent(path);
  }

  function fireParent(path: string): void {
    const parent = path.slice(0, path.lastIndexOf('/'));
    fire(`children ${parent}`, EventType.CHILDREN, parent);
  }

  function fire(watch: string, type: number, path: string): void {
    for (const peer of peers) if (peer.watches.delete(watch)) event(peer, type, path);
  }

  function event(peer: Peer, type: number, path: string): void {
    peer.socket.write(new JuteWriter().int(-1).long(-1n).int(0).int(type).int(3).text(path).frame());
  }

  const childrenOf = (path: string) =>
    [...nodes.keys()].flatMap((one) =>
      one.startsWith(`${path}/`) && !one.includes('/', path.length + 1) ? [one.slice(path.length + 1)] : [],
    );

  const double: ZookeeperDouble = {
    port: 0,
    asked,
    isSilent: false,
    isReadOnly: false,
    zxid: 0n,
    put(path, data) {
      const steps = path.split('/').slice(1);
      for (let i = 1; i < steps.length; i++) {
        const above = `/${steps.slice(0, i).join('/')}`;
        if (!nodes.has(above)) put(above, Buffer.alloc(0), 0n);
      }
      put(path, Buffer.from(data), 1n);
    },
    remove,
    expireAll: () => sessions.clear(),
    cut() {
      for (const { socket } of peers) socket.destroy();
    },
    async close() {
      double.cut();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return Object.assign(double, { port: (server.address() as { port: number }).port });
}

function stat(writer: JuteWriter, { czxid, mzxid, version, owner, data }: Node): JuteWriter {
  writer.long(czxid).long(mzxid).long(0n).long(0n).int(version).int(0).int(0);
  return writer.long(owner).int(data.length).int(0).long(mzxid);
}
