import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket as TcpSocket } from 'node:net';
import dnsPacket, { type Answer, type DecodedPacket } from 'dns-packet';

/** What was asked, and how. */
export interface Asked {
  readonly name: string;
  readonly type: string;
  readonly over: 'udp' | 'tcp';
  readonly edns: boolean;
  readonly id: number;
  /** Source port. */
  readonly port: number;
}

/** Replaces an answer: nothing is sent for null, several packets for a list. */
export type Script = (asked: Asked, whole: () => Buffer) => Buffer | Buffer[] | null;

const RCODES = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;

/** A DNS server of which a test says every byte, over UDP and TCP on one port. Without a script it answers from `records`, NXDOMAIN for names it has none of. */
export class DnsDouble {
  readonly records: Answer[] = [];
  /** Come along with every answer to SRV. */
  readonly additionals: Answer[] = [];
  readonly asked: Asked[] = [];
  script: Script = (_asked, whole) => whole();
  #port = 0;
  #udp: Socket | null = null;
  #tcp: Server | null = null;
  readonly #connections = new Set<TcpSocket>();

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    const tcp = createServer((socket) => this.#onConnection(socket)).listen(this.#port, '127.0.0.1');
    await once(tcp, 'listening');
    this.#tcp = tcp;
    this.#port = (tcp.address() as AddressInfo).port;
    const udp = createSocket('udp4').bind(this.#port, '127.0.0.1');
    await once(udp, 'listening');
    udp.on('message', (message, from) => {
      for (const reply of this.#answer(message, 'udp', from.port)) udp.send(reply, from.port, from.address);
    });
    this.#udp = udp;
  }

  async stop(): Promise<void> {
    for (const socket of this.#connections) socket.destroy();
    const [udp, tcp] = [this.#udp, this.#tcp];
    this.#udp = null;
    this.#tcp = null;
    if (udp !== null) await new Promise<void>((resolve) => udp.close(resolve));
    if (tcp !== null) await new Promise<void>((resolve) => tcp.close(() => resolve()));
  }

  #onConnection(socket: TcpSocket): void {
    this.#connections.add(socket);
    socket.once('close', () => this.#connections.delete(socket));
    socket.on('error', () => {});
    let received = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE()) return;
      for (const reply of this.#answer(received.subarray(2), 'tcp', socket.remotePort ?? 0)) {
        const length = Buffer.alloc(2);
        length.writeUInt16BE(reply.length);
        // In two pieces, as it may come.
        socket.write(length);
        socket.end(reply);
      }
    });
  }

  #answer(message: Buffer, over: 'udp' | 'tcp', port: number): Buffer[] {
    const query = dnsPacket.decode(message);
    const [question] = query.questions!;
    const edns = query.additionals?.some(({ type }) => type === 'OPT') === true;
    const asked = { name: question.name, type: question.type, over, edns, id: query.id!, port };
    this.asked.push(asked);
    const reply = this.script(asked, () => this.#whole(query));
    return reply === null ? [] : Array.isArray(reply) ? reply : [reply];
  }

  #whole(query: DecodedPacket): Buffer {
    const [{ name, type }] = query.questions!;
    const named = this.records.filter((one) => one.name.toLowerCase() === name.toLowerCase());
    const answers = named.filter((one) => one.type === type || one.type === 'CNAME');
    const additionals = type === 'SRV' ? this.additionals : [];
    return reply(query.id!, name, type, { rcode: named.length === 0 ? 'NXDOMAIN' : 'NOERROR', answers, additionals });
  }
}

export interface Reply {
  readonly rcode?: keyof typeof RCODES;
  readonly answers?: Answer[];
  readonly authorities?: Answer[];
  readonly additionals?: Answer[];
  readonly truncated?: boolean;
}

/** A DNS answer as bytes. */
export function reply(
  id: number,
  name: string,
  type: string,
  { rcode = 'NOERROR', truncated = false, ...sections }: Reply,
): Buffer {
  const flags = 0x0180 | RCODES[rcode] | (truncated ? dnsPacket.TRUNCATED_RESPONSE : 0);
  return dnsPacket.encode({ type: 'response', id, flags, questions: [{ name, type: type as 'A' }], ...sections });
}
