import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';

/** A server that answers as much of etcd's JSON gateway as our client asks, in the words of etcd 3.4: for laws and for what a real server cannot be made to do. */
export interface EtcdDouble {
  /** http://127.0.0.1:port */
  readonly address: string;
  /** Paths asked for, in order. */
  readonly asked: readonly string[];
  put(key: string, value: string): void;
  remove(key: string): void;
  /** The store's revision; a lower one is a store that was set back. */
  revision: number;
  /** Ends every watch, as a compaction of what it was to tell next would. */
  compact(): void;
  close(): Promise<void>;
}

interface Record {
  readonly value: string;
  readonly create: number;
  readonly mod: number;
}

const encode = (text: string) => Buffer.from(text).toString('base64');
const decode = (text: string) => Buffer.from(text, 'base64').toString();

export async function startEtcdDouble(): Promise<EtcdDouble> {
  const records = new Map<string, Record>();
  const watches = new Map<ServerResponse, string>();
  const asked: string[] = [];
  const header = () => ({ cluster_id: '14443903163313418560', revision: String(double.revision), raft_term: '4' });
  const line = (response: ServerResponse, result: object) => response.write(`${JSON.stringify({ result })}\n`);
  const tell = (key: string, event: object) => {
    for (const [response, prefix] of watches)
      if (key.startsWith(prefix)) line(response, { header: header(), events: [event] });
  };
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = JSON.parse(Buffer.concat(chunks).toString());
    asked.push(request.url!);
    response.setHeader('content-type', 'application/json');
    if (request.url === '/v3/watch') {
      watches.set(response, decode(body.create_request.key));
      response.on('close', () => watches.delete(response));
      return line(response, { header: header(), created: true });
    }
    if (request.url !== '/v3/kv/range') return void response.writeHead(404).end('{}');
    const from = decode(body.key);
    const isIn = (key: string) => (body.range_end === undefined ? key === from : key.startsWith(from));
    const kvs = [...records].flatMap(([key, { value, create, mod }]) =>
      isIn(key)
        ? [{ key: encode(key), value: encode(value), create_revision: String(create), mod_revision: String(mod) }]
        : [],
    );
    response.end(JSON.stringify({ header: header(), kvs, count: String(kvs.length) }));
  });
  const double: EtcdDouble = {
    address: '',
    asked,
    revision: 1,
    put(key, value) {
      const mod = ++double.revision;
      const create = records.get(key)?.create ?? mod;
      records.set(key, { value, create, mod });
      const kv = { key: encode(key), value: encode(value), create_revision: String(create), mod_revision: String(mod) };
      tell(key, { kv });
    },
    remove(key) {
      records.delete(key);
      tell(key, { type: 'DELETE', kv: { key: encode(key), mod_revision: String(++double.revision) } });
    },
    compact() {
      for (const response of watches.keys())
        line(response, { header: header(), canceled: true, compact_revision: String(double.revision) });
    },
    async close() {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return Object.assign(double, { address: `http://127.0.0.1:${(server.address() as { port: number }).port}` });
}
