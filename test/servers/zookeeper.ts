import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { eventually } from '../helpers/eventually.ts';
import { freePort } from '../helpers/ports.ts';
import { findProgram, type RunningProcess, startProcess } from '../helpers/processes.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../helpers/temporary-directory.ts';

const JARS = ['zookeeper', 'zookeeper-jute', 'slf4j-api', 'slf4j-simple', 'metrics-core', 'snappy-java'];

/** The classpath of ZooKeeper, from what install.sh brought; null when that or Java is missing. */
export function findZookeeper(): string | null {
  const checkout = resolve(import.meta.dirname, '../..');
  const servers = resolve(checkout, process.env.EVENKEEL_SERVERS ?? 'node_modules/.cache/evenkeel-servers');
  const jars = JARS.map((name) => join(servers, 'zookeeper', `${name}.jar`));
  return findProgram('java') !== null && jars.every((jar) => existsSync(jar)) ? jars.join(':') : null;
}

/** A real ZooKeeper server of a test's own, standalone, on 127.0.0.1. Whoever starts one stops it. */
export interface Zookeeper extends AsyncDisposable {
  /** The same through every restart. */
  readonly port: number;
  /** SIGKILL, as a crash. */
  kill(): Promise<void>;
  /** Comes back on the same port, with what it knew or without anything. */
  comeBack(how: 'with its data' | 'empty'): Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers; sessions whose time is over end the moment it thaws. */
  freeze(): void;
  thaw(): void;
  stop(): Promise<void>;
}

export interface ZookeeperOptions {
  /** More lines of its configuration. */
  readonly config?: readonly string[];
  /** More system properties of its Java. */
  readonly java?: readonly string[];
}

export async function startZookeeper(options: ZookeeperOptions = {}): Promise<Zookeeper> {
  const classpath = findZookeeper();
  if (classpath === null) throw new Error('no ZooKeeper; run test/servers/install.sh');
  const directory = await temporaryDirectory('zookeeper');
  const port = await freePort();
  let life = 0;
  let running = await startLife(classpath, directory, life, port, options);
  const stop = async () => {
    running.kill('SIGCONT');
    await running.stop(0);
    await directory.close();
  };
  return {
    port,
    async kill() {
      await running.stop(0);
    },
    async comeBack(how) {
      await running.stop(0);
      if (how === 'empty') life++;
      running = await startLife(classpath, directory, life, port, options);
    },
    freeze: () => void running.kill('SIGSTOP'),
    thaw: () => void running.kill('SIGCONT'),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function startLife(
  classpath: string,
  directory: TemporaryDirectory,
  life: number,
  port: number,
  { config = [], java = [] }: ZookeeperOptions,
): Promise<RunningProcess> {
  const home = join(directory.path, String(life));
  await mkdir(home, { recursive: true });
  const file = join(home, 'zoo.cfg');
  const lines = [
    'tickTime=200',
    'minSessionTimeout=500',
    'maxSessionTimeout=60000',
    `dataDir=${join(home, 'data')}`,
    `clientPort=${port}`,
    'clientPortAddress=127.0.0.1',
    'admin.enableServer=false',
    'maxClientCnxns=0',
    ...config,
  ];
  await writeFile(file, lines.join('\n'));
  const running = await startProcess(
    'java',
    [
      // Up in a second: what a test does is over before the compiler would pay.
      '-XX:TieredStopAtLevel=1',
      '-XX:+UseSerialGC',
      '-Xmx128m',
      '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
      ...java,
      '-cp',
      classpath,
      'org.apache.zookeeper.server.ZooKeeperServerMain',
      file,
    ],
    { cwd: home },
  );
  try {
    await eventually(() => isUp(port), { timeoutMs: 30_000, intervalMs: 25 });
  } catch (error) {
    await running.stop(0);
    throw new Error(`ZooKeeper did not start\n${running.stdout}${running.stderr}`, { cause: error });
  }
  return running;
}

/** Whether it takes clients: it answers on its port a moment before it does. */
function isUp(port: number): Promise<boolean> {
  return new Promise((done) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1', () => socket.write('srvr'));
    socket.setTimeout(1000, () => socket.destroy());
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.on('error', () => {});
    socket.on('close', () => done(answer.startsWith('Zookeeper version')));
  });
}
