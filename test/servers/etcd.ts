import { accessSync, constants } from 'node:fs';
import { join, resolve } from 'node:path';
import { eventually } from '../helpers/eventually.ts';
import { freePorts } from '../helpers/ports.ts';
import { findProgram, type RunningProcess, startProcess } from '../helpers/processes.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';

/** The absolute path of `etcd` or `etcdctl`: what install.sh brought, then PATH; null when there is none. */
export function findEtcd(program: 'etcd' | 'etcdctl' = 'etcd'): string | null {
  const checkout = resolve(import.meta.dirname, '../..');
  const servers = resolve(checkout, process.env.EVENKEEL_SERVERS ?? 'node_modules/.cache/evenkeel-servers');
  const path = join(servers, program);
  try {
    accessSync(path, constants.X_OK);
    return path;
  } catch {
    return findProgram(program);
  }
}

/** A real etcd server of a test's own, alone in its cluster, on 127.0.0.1. Whoever starts one stops it. */
export interface Etcd extends AsyncDisposable {
  /** http://127.0.0.1:port, the same through every restart. */
  readonly address: string;
  /** One call of the JSON gateway, by plain HTTP. Rejects unless it is answered with 200. */
  // biome-ignore lint/suspicious/noExplicitAny: a test knows what it asked for
  call(path: string, body: object): Promise<any>;
  /** SIGKILL, as a crash. */
  kill(): Promise<void>;
  /** Comes back on the same port, with what it knew or without anything. */
  comeBack(how: 'with its data' | 'empty'): Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers. */
  freeze(): void;
  thaw(): void;
  stop(): Promise<void>;
}

export interface EtcdOptions {
  /** In place of http. */
  readonly scheme?: 'https';
  /** More arguments. */
  readonly args?: readonly string[];
}

export async function startEtcd({ scheme, args = [] }: EtcdOptions = {}): Promise<Etcd> {
  const binary = findEtcd();
  if (binary === null) throw new Error('no etcd binary; run test/servers/install.sh');
  const directory = await temporaryDirectory('etcd');
  const [port, peer] = await freePorts(2);
  const address = `${scheme ?? 'http'}://127.0.0.1:${port}`;
  const peers = `http://127.0.0.1:${peer}`;
  let life = 0;
  const begin = async (): Promise<RunningProcess> => {
    const running = await startProcess(binary, [
      `--data-dir=${join(directory.path, String(life))}`,
      `--listen-client-urls=${address}`,
      `--advertise-client-urls=${address}`,
      `--listen-peer-urls=${peers}`,
      `--initial-advertise-peer-urls=${peers}`,
      `--initial-cluster=default=${peers}`,
      // So that leases of two seconds are granted.
      '--heartbeat-interval=50',
      '--election-timeout=500',
      '--logger=zap',
      '--log-level=info',
      ...args,
    ]);
    try {
      await running.waitFor(/serving client traffic/, 20_000);
    } catch (error) {
      await running.stop(0);
      throw error;
    }
    return running;
  };
  let running = await begin();
  const call = async (path: string, body: object) => {
    const answer = await fetch(address + path, { method: 'POST', body: JSON.stringify(body) });
    const text = await answer.text();
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${text}`);
    return JSON.parse(text);
  };
  if (scheme === undefined) await eventually(() => call('/v3/kv/range', { key: 'YQ==' }), { intervalMs: 25 });
  const stop = async () => {
    running.kill('SIGCONT');
    await running.stop(0);
    await directory.close();
  };
  return {
    address,
    call,
    async kill() {
      await running.stop(0);
    },
    async comeBack(how) {
      await running.stop(0);
      if (how === 'empty') life++;
      running = await begin();
    },
    freeze: () => void running.kill('SIGSTOP'),
    thaw: () => void running.kill('SIGCONT'),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
