import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { GrpcFrames, grpcFrame } from '../../src/stores/nacos/grpc-frames.ts';
import { decodeNacosPayload, encodeNacosPayload } from '../../src/stores/nacos/nacos-payload.ts';
import { NacosConfigs, type NacosConfigsOptions } from './nacos-configs.ts';

/** An instance as Nacos tells it. */
export type PeerInstance = Readonly<Record<string, unknown>> & { readonly ip: string; readonly port: number };

interface Connection {
  stream: http2.ServerHttp2Stream | null;
  readonly subscribed: Set<string>;
  readonly instances: Map<string, PeerInstance>;
  /** Configs it listens to. */
  readonly listened: Set<string>;
}

/**
 * A Nacos 2 server's gRPC, in memory, with the answers r-nacos 0.8.8 has in its source (not recorded from one: `servers/nacos-registry.test.ts` is
 * for the real thing). Subscriptions and instances live as long as their connection. Whoever starts one closes it.
 */
export class NacosPeer implements AsyncDisposable {
  /** Types of the requests, acknowledgements included, in their order. */
  readonly asked: string[] = [];
  /** Changes or refuses an answer. */
  answerWith: ((type: string, answer: Record<string, unknown>) => Record<string, unknown>) | null = null;
  /** The gRPC message, as it is on the wire, by which every request but the first of a connection is refused. */
  refusal: string | null = null;
  readonly #own = new Map<string, PeerInstance>();
  readonly #connections = new Map<http2.Http2Session, Connection>();
  readonly configs: NacosConfigs;
  #server: http2.Http2Server | null = null;
  #pushes = 0;
  port = 0;

  private constructor(configs: NacosConfigsOptions) {
    this.configs = new NacosConfigs(configs, (key, names) => {
      for (const { stream, listened } of this.#connections.values())
        if (stream !== null && listened.has(key))
          write(stream, 'ConfigChangeNotifyRequest', { requestId: String(++this.#pushes), ...names });
    });
  }

  static async start(configs: NacosConfigsOptions = { compares: true, lagMs: 20 }): Promise<NacosPeer> {
    const peer = new NacosPeer(configs);
    await peer.comeBack();
    return peer;
  }

  /** Listens, on the port it had. */
  async comeBack(): Promise<void> {
    const server = http2.createServer();
    server.on('session', (session) => this.#greet(session));
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
    this.port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Nobody listens any more, and every connection is cut. */
  async goAway(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    for (const session of this.#connections.keys()) session.destroy();
    if (server !== null) await new Promise((done) => server.close(done));
  }

  /** Says on every connection that it takes no new requests, and leaves its stream open. */
  drain(): void {
    for (const session of this.#connections.keys()) session.goaway(http2.constants.NGHTTP2_NO_ERROR);
  }

  /** Somebody else registers or changes an instance of DEFAULT_GROUP. */
  put(service: string, port: number, more: Record<string, unknown> = {}): void {
    this.#own.set(`DEFAULT_GROUP@@${service} ${port}`, instance(port, more));
    this.#push(`DEFAULT_GROUP@@${service}`);
  }

  remove(service: string, port: number): void {
    this.#own.delete(`DEFAULT_GROUP@@${service} ${port}`);
    this.#push(`DEFAULT_GROUP@@${service}`);
  }

  /** Pushes something of its own to all who subscribed. */
  pushInfo(service: string, info: Record<string, unknown>): void {
    this.#push(`DEFAULT_GROUP@@${service}`, info);
  }

  /** A push of another type, to everybody. */
  send(type: string): void {
    for (const { stream } of this.#connections.values()) if (stream !== null) write(stream, type, { requestId: '1' });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.goAway();
  }

  #greet(session: http2.ServerHttp2Session): void {
    const connection: Connection = { stream: null, subscribed: new Set(), instances: new Map(), listened: new Set() };
    this.#connections.set(session, connection);
    session.on('error', () => {});
    session.on('close', () => {
      this.#connections.delete(session);
      for (const key of connection.instances.keys()) this.#push(key.split(' ')[0]);
    });
    session.on('stream', (stream, headers) => {
      stream.on('error', () => {});
      const isStream = String(headers[':path']) === '/BiRequestStream/requestBiStream';
      if (isStream) stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
      const frames = new GrpcFrames();
      stream.on('data', (chunk: Buffer) => {
        for (const message of frames.push(chunk)) {
          const { type, body } = decodeNacosPayload(message);
          this.asked.push(type);
          if (!isStream) this.#answer(stream, connection, type, JSON.parse(body.toString()));
          else if (type === 'ConnectionSetupRequest') connection.stream = stream;
        }
      });
    });
  }

  // biome-ignore lint/suspicious/noExplicitAny: JSON of the client under test
  #answer(stream: http2.ServerHttp2Stream, connection: Connection, type: string, asked: any): void {
    if (this.refusal !== null && type !== 'ServerCheckRequest')
      return stream.respond({ ':status': 200, 'grpc-status': '8', 'grpc-message': this.refusal }, { endStream: true });
    const key = `${asked.groupName}@@${asked.serviceName}`;
    let answer: Record<string, unknown> = { resultCode: 200, errorCode: 0, message: '' };
    if (type === 'ServerCheckRequest') answer = { ...answer, connectionId: 'c' };
    else if (connection.stream === null) answer = { resultCode: 500, errorCode: 301, message: 'not registered' };
    else if (type === 'SubscribeServiceRequest') {
      if (asked.subscribe) connection.subscribed.add(key);
      else connection.subscribed.delete(key);
      answer = { ...answer, serviceInfo: this.#info(key) };
    } else if (type === 'InstanceRequest') {
      const at = `${key} ${asked.instance.port}`;
      if (asked.type === 'registerInstance') connection.instances.set(at, asked.instance);
      else connection.instances.delete(at);
      this.#push(key);
    } else if (type === 'ServiceQueryRequest') answer = { ...answer, serviceInfo: this.#info(key) };
    else answer = { ...answer, ...this.configs.answer(type, asked, connection.listened) };
    answer = this.answerWith?.(type, answer) ?? answer;
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    const name = answer.resultCode === 200 ? type.replace('Request', 'Response') : 'ErrorResponse';
    stream.end(frameOf(name, answer));
  }

  #info(key: string): Record<string, unknown> {
    const [groupName, name] = key.split('@@');
    const all = [this.#own, ...[...this.#connections.values()].map(({ instances }) => instances)];
    const hosts = all.flatMap((map) => [...map].filter(([at]) => at.split(' ')[0] === key).map(([, one]) => one));
    return { name, groupName, clusters: '', cacheMillis: 10_000, hosts, reachProtectionThreshold: false };
  }

  #push(key: string, info: Record<string, unknown> = {}): void {
    const serviceInfo = { ...this.#info(key), ...info };
    for (const { stream, subscribed } of this.#connections.values())
      if (stream !== null && subscribed.has(key))
        write(stream, 'NotifySubscriberRequest', { requestId: String(++this.#pushes), serviceInfo });
  }
}

function instance(port: number, more: Record<string, unknown>): PeerInstance {
  const fixed = { weight: 1, healthy: true, enabled: true, ephemeral: true, clusterName: 'DEFAULT', metadata: {} };
  return { ip: '127.0.0.1', port, ...fixed, ...more };
}

function frameOf(type: string, body: unknown): Buffer {
  return grpcFrame(encodeNacosPayload({ type, headers: {}, body: Buffer.from(JSON.stringify(body)) }));
}

function write(stream: http2.ServerHttp2Stream, type: string, body: unknown): void {
  if (!stream.destroyed) stream.write(frameOf(type, body));
}
