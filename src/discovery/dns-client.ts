import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import dnsPacket, { type Answer, type DecodedPacket, type RecordType } from 'dns-packet';
import { OperationError } from '../base/errors.ts';
import { formatHostPort } from '../base/literals.ts';

/** What crosses nearly every network in one piece (DNS flag day 2020). */
const UDP_SIZE = 1232;
/** How often the servers are gone through before a question has failed. */
const ROUNDS = 2;

/** What was answered: `noName` is NXDOMAIN; a name without such records has no answers. */
export interface DnsAnswer {
  readonly noName: boolean;
  readonly answers: readonly Answer[];
  readonly authorities: readonly Answer[];
  readonly additionals: readonly Answer[];
}

export interface DnsServer {
  /** IPv4, or IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

/** A packet as dns-packet reads it; its types leave the response code out. */
type Response = DecodedPacket & { readonly rcode: string };

/** The server cannot do with this question what it should. */
class Refused extends Error {
  readonly rcode: string;

  constructor(rcode: string) {
    super(`answers ${rcode}`);
    this.rcode = rcode;
  }
}

/**
 * Asks DNS servers: over UDP with EDNS (RFC 6891), without it where a server does not know it, over TCP when an answer does not fit (RFC 7766). Each question has
 * a socket, hence a source port, and an ID of its own, and only an answer from the server asked, with that ID, to that question is one; anything else is
 * not looked at. Servers are asked in turn, the next when one fails. Not the system's resolver: that tells no TTLs and cuts answers off.
 */
export class DnsClient {
  readonly #servers: readonly DnsServer[];
  readonly #timeoutMs: number;
  readonly #withoutEdns = new Set<DnsServer>();
  readonly #closing = new AbortController();
  #next = 0;

  /** `timeoutMs` is what each server has for an answer. */
  constructor(servers: readonly DnsServer[], timeoutMs: number) {
    this.#servers = servers;
    this.#timeoutMs = timeoutMs;
  }

  /** Rejects with an OperationError when no server answers, or all fail. */
  async query(name: string, type: RecordType): Promise<DnsAnswer> {
    const first = this.#next++;
    const faults = new Map<string, string>();
    for (let i = 0; i < this.#servers.length * ROUNDS && !this.#closing.signal.aborted; i++) {
      const server = this.#servers[(first + i) % this.#servers.length];
      try {
        return await this.#ask(server, name, type);
      } catch (error) {
        faults.set(formatHostPort(server.host, server.port), (error as Error).message);
      }
    }
    const why = [...faults].map(([server, fault]) => `${server} ${fault}`).join(', ');
    throw new OperationError('registry-unreachable', `no DNS server tells of ${name} ${type}: ${why}`, {
      retryable: true,
    });
  }

  /** Ends what is under way; nothing can be asked afterwards. */
  close(): void {
    this.#closing.abort();
  }

  async #ask(server: DnsServer, name: string, type: RecordType): Promise<DnsAnswer> {
    const hasEdns = !this.#withoutEdns.has(server);
    try {
      return await this.#askOnce(server, name, type, hasEdns);
    } catch (error) {
      // Old servers say that they do not understand, by these codes (RFC 6891 §7).
      if (!hasEdns || !(error instanceof Refused) || !['FORMERR', 'NOTIMP', 'BADVERS'].includes(error.rcode))
        throw error;
      const answer = await this.#askOnce(server, name, type, false);
      this.#withoutEdns.add(server);
      return answer;
    }
  }

  async #askOnce(server: DnsServer, name: string, type: RecordType, hasEdns: boolean): Promise<DnsAnswer> {
    const question = new Question(name, type, hasEdns);
    let response = await exchange(this.#overUdp, server, question, this.#timeoutMs, this.#closing.signal);
    if (response.flag_tc)
      response = await exchange(this.#overTcp, server, question, this.#timeoutMs, this.#closing.signal);
    const opt = response.additionals?.find((one) => one.type === 'OPT');
    const rcode = opt?.type === 'OPT' && opt.extendedRcode !== 0 ? 'BADVERS' : response.rcode;
    if (rcode !== 'NOERROR' && rcode !== 'NXDOMAIN') throw new Refused(rcode);
    const { answers = [], authorities = [], additionals = [] } = response;
    return { noName: rcode === 'NXDOMAIN', answers, authorities, additionals };
  }

  readonly #overUdp: Way = ({ host, port }, question, done) => {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
    socket.on('error', (error) => done(error, null));
    socket.on('message', (message) => {
      const response = question.readAnswer(message);
      if (response !== null) done(null, response);
    });
    // Connected: the system drops what comes from elsewhere, and tells of a closed port at once.
    socket.connect(port, host, () => socket.send(question.bytes, (error) => error && done(error, null)));
    return () => socket.close();
  };

  readonly #overTcp: Way = ({ host, port }, question, done) => {
    const socket = connect({ host, port });
    let received = Buffer.alloc(0);
    socket.on('connect', () => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(question.bytes.length);
      socket.write(Buffer.concat([length, question.bytes]));
    });
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE()) return;
      const response = question.readAnswer(received.subarray(2, 2 + received.readUInt16BE()));
      if (response === null) done(new Error('answers over TCP what cannot be read'), null);
      else done(null, response);
    });
    socket.on('error', (error) => done(error, null));
    socket.on('close', () => done(new Error('closes the connection without an answer'), null));
    return () => socket.destroy();
  };
}

/** Starts an exchange and returns how to end it. `done` may be called more than once. */
type Way = (
  server: DnsServer,
  question: Question,
  done: (error: Error | null, response: Response | null) => void,
) => () => void;

function exchange(
  way: Way,
  server: DnsServer,
  question: Question,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    let isDone = false;
    const done = (error: Error | null, response: Response | null) => {
      if (isDone) return;
      isDone = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      end();
      if (response !== null) resolve(response);
      else reject(plain(error!));
    };
    const onAbort = () => done(new Error('is not asked any more'), null);
    const timer = setTimeout(() => done(new Error(`does not answer within ${timeoutMs} ms`), null), timeoutMs);
    signal.addEventListener('abort', onAbort);
    const end = way(server, question, done);
  });
}

function plain(error: Error): Error {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ECONNREFUSED') return new Error('refuses connections');
  return code === undefined ? error : new Error(`cannot be reached: ${code}`);
}

/** One question, and what counts as an answer to it. */
class Question {
  readonly bytes: Buffer;
  readonly #id = randomInt(65_536);
  readonly #name: string;
  readonly #type: RecordType;

  constructor(name: string, type: RecordType, hasEdns: boolean) {
    this.#name = name.replace(/\.$/, '').toLowerCase();
    this.#type = type;
    const edns = {
      type: 'OPT',
      name: '.',
      udpPayloadSize: UDP_SIZE,
      extendedRcode: 0,
      ednsVersion: 0,
      flags: 0,
      flag_do: false,
      options: [],
    } as const;
    this.bytes = dnsPacket.encode({
      type: 'query',
      id: this.#id,
      flags: dnsPacket.RECURSION_DESIRED,
      questions: [{ type, name: this.#name }],
      additionals: hasEdns ? [{ ...edns, options: [] }] : [],
    });
  }

  /** Null for what is no answer to this question: a forgery, a late answer to another one, noise. */
  readAnswer(message: Buffer): Response | null {
    // Before anything else is looked at: forgeries are cheap to throw away.
    if (message.length < 12 || message.readUInt16BE() !== this.#id || (message[2] & 0x80) === 0) return null;
    let response: Response;
    try {
      response = dnsPacket.decode(message) as Response;
    } catch {
      return this.#cutOff(message);
    }
    const [asked] = response.questions ?? [];
    // Some servers leave the question out when they did not understand it.
    if (asked === undefined) return response.rcode === 'FORMERR' || response.rcode === 'NOTIMP' ? response : null;
    const isSame = asked.name.toLowerCase() === this.#name && asked.type === this.#type;
    return isSame ? response : null;
  }

  /** An answer cut off in the middle of a record is no DNS message, but says by its flag that TCP has the whole. */
  #cutOff(message: Buffer): Response | null {
    if ((message[2] & 0x02) === 0) return null;
    try {
      // Its head alone.
      return dnsPacket.decode(Buffer.concat([message.subarray(0, 4), Buffer.alloc(8)])) as Response;
    } catch {
      return null;
    }
  }
}
