import { randomInt } from 'node:crypto';
import { freePort } from '../helpers/ports.ts';
import { startStoreProgram } from './store-program.ts';
import type { RealServer } from './taped-server.ts';

/**
 * The Eureka server to test against: `EVENKEEL_EUREKA` is the address of one that runs (http://127.0.0.1:8761) or the path of a Spring Boot jar with
 * spring-cloud-starter-netflix-eureka-server, which is then run. Null when it is not set: tapes are played.
 */
export async function realEureka(): Promise<RealServer | null> {
  const given = process.env.EVENKEEL_EUREKA ?? '';
  if (given === '') return null;
  const origin = process.env.EVENKEEL_EUREKA_ORIGIN ?? 'Eureka (version not told)';
  if (/^https?:/.test(given)) {
    return { address: given, grpcPort: 0, origin, crash: null, restart: null, stop: async () => {} };
  }
  const port = await freePort();
  return startStoreProgram({
    command: 'java',
    arguments: [
      '-Xmx256m',
      '-XX:+UseSerialGC',
      '-jar',
      given,
      '--server.address=127.0.0.1',
      `--server.port=${port}`,
      '--eureka.client.register-with-eureka=false',
      '--eureka.client.fetch-registry=false',
      '--eureka.server.response-cache-update-interval-ms=300',
      '--eureka.server.eviction-interval-timer-in-ms=500',
      '--eureka.server.enable-self-preservation=false',
    ],
    address: `http://127.0.0.1:${port}`,
    grpcPort: 0,
    origin,
    readyPath: '/eureka/apps',
    forget: async () => {},
  });
}

/** An application beside evenkeel: writes to the real server, past everything of ours. */
export class EurekaApp {
  readonly #address: string;

  constructor({ address }: RealServer) {
    this.#address = `${address}/eureka/apps`;
  }

  async register(app: string, port: number, more: Record<string, unknown> = {}): Promise<void> {
    const metadata = { '@class': 'java.util.Collections$EmptyMap', ...((more.metadata as object | undefined) ?? {}) };
    const instance = {
      instanceId: idOf(app, port),
      hostName: 'localhost',
      app: app.toUpperCase(),
      ipAddr: '127.0.0.1',
      status: 'UP',
      port: { $: port, '@enabled': 'true' },
      securePort: { $: port + 400, '@enabled': 'false' },
      vipAddress: app,
      secureVipAddress: app,
      dataCenterInfo: { '@class': 'com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo', name: 'MyOwn' },
      leaseInfo: { renewalIntervalInSecs: 30, durationInSecs: 90 },
      lastDirtyTimestamp: String(Date.now() + randomInt(1000)),
      ...more,
      metadata,
    };
    await this.#ask('POST', `/${app.toUpperCase()}`, JSON.stringify({ instance }));
  }

  async status(app: string, port: number, status: string): Promise<void> {
    await this.#ask('PUT', `/${app.toUpperCase()}/${idOf(app, port)}/status?value=${status}`);
  }

  async deregister(app: string, ...ports: number[]): Promise<void> {
    for (const port of ports) await this.remove(app, idOf(app, port));
  }

  async remove(app: string, id: string): Promise<void> {
    await this.#ask('DELETE', `/${app.toUpperCase()}/${id}`);
  }

  async #ask(method: string, path: string, body?: string): Promise<void> {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(this.#address + path, { method, headers, ...(body === undefined ? {} : { body }) });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  }
}

function idOf(app: string, port: number): string {
  return `127.0.0.1:${app}:${port}`;
}
