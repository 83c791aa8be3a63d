import { rm } from 'node:fs/promises';
import type { OperationError } from '../../src/base/errors.ts';
import { NacosConnection, type NacosConnectionOptions } from '../../src/stores/nacos/nacos-connection.ts';
import { freePorts } from '../helpers/ports.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';
import { startStoreProgram } from './store-program.ts';
import type { RealServer } from './taped-server.ts';

/**
 * The Nacos server to test against: `EVENKEEL_NACOS` is the address of one that runs (http://127.0.0.1:8848, gRPC a thousand above) or the path of an
 * r-nacos program, which is then run. Null when it is not set: tapes are played.
 */
export async function realNacos(): Promise<RealServer | null> {
  const given = process.env.EVENKEEL_NACOS ?? '';
  if (given === '') return null;
  const origin = process.env.EVENKEEL_NACOS_ORIGIN ?? 'Nacos (version not told)';
  if (/^https?:/.test(given)) {
    const grpcPort = Number(new URL(given).port || 8848) + 1000;
    return { address: given, grpcPort, origin, crash: null, restart: null, stop: async () => {} };
  }
  const [port, grpcPort] = await freePorts(2);
  const directory = await temporaryDirectory('nacos');
  const real = await startStoreProgram({
    command: given,
    arguments: [],
    env: {
      RNACOS_HTTP_PORT: String(port),
      RNACOS_GRPC_PORT: String(grpcPort),
      RNACOS_HTTP_CONSOLE_PORT: '0',
      RNACOS_SDK_HOST: '127.0.0.1',
      RNACOS_DATA_DIR: directory.path,
      RNACOS_ENABLE_OPEN_API_AUTH: 'false',
    },
    address: `http://127.0.0.1:${port}`,
    grpcPort,
    origin,
    readyPath: '/nacos/v1/ns/instance/list?serviceName=some',
    forget: () => rm(directory.path, { recursive: true, force: true }),
  });
  return {
    ...real,
    async stop() {
      await real.stop();
      await directory.close();
    },
  };
}

/** An application beside evenkeel, with a connection of its own to the real server: what it registered goes with that. */
export class NacosApp {
  readonly #connection: NacosConnection;

  private constructor(connection: NacosConnection) {
    this.#connection = connection;
  }

  static async connect({ address, grpcPort }: RealServer): Promise<NacosApp> {
    const options: NacosConnectionOptions = {
      origin: `http://${new URL(address).hostname}:${grpcPort}`,
      module: 'naming',
      namespace: 'public',
      tls: { verify: true },
      onPush: () => {},
      onEnd: (_: OperationError) => {},
    };
    const connection = await NacosConnection.open(options, new AbortController().signal);
    return new NacosApp(connection);
  }

  async register(serviceName: string, port: number, more: Record<string, unknown> = {}): Promise<void> {
    await this.#put('registerInstance', serviceName, port, more);
  }

  async deregister(serviceName: string, port: number, more: Record<string, unknown> = {}): Promise<void> {
    await this.#put('deregisterInstance', serviceName, port, more);
  }

  /** Dies: no goodbye. */
  die(): void {
    this.#connection.close();
  }

  async #put(type: string, serviceName: string, port: number, more: Record<string, unknown>): Promise<void> {
    const { group = 'DEFAULT_GROUP', ...rest } = more;
    const instance = {
      ip: '127.0.0.1',
      port,
      weight: 1,
      healthy: true,
      enabled: true,
      ephemeral: true,
      clusterName: 'DEFAULT',
      metadata: {},
      ...rest,
    };
    const names = { namespace: 'public', serviceName, groupName: group };
    await this.#connection.request('InstanceRequest', { ...names, type, instance });
  }
}
