import { systemClock } from '../../src/base/clock.ts';
import { parseConnectString } from '../../src/stores/zookeeper/connect-string.ts';
import { ZookeeperSession } from '../../src/stores/zookeeper/zookeeper-session.ts';
import { eventually } from '../helpers/eventually.ts';
import { startTcpLink, type TcpLink } from '../helpers/tcp-link.ts';
import type { AppEndpoint, RegistryWorld } from './registry-suite.ts';
import { startZookeeper, type Zookeeper } from './zookeeper.ts';

/** A record as Curator 5.4 writes it for Spring Cloud. */
export function curatorRecord(service: string, endpoint: AppEndpoint): string {
  const { port, weight = 1, zone, version, tags, isOut } = endpoint;
  const metadata = { weight: String(weight), zone, version, tags: tags?.join(',') };
  const payload = {
    '@class': 'org.springframework.cloud.zookeeper.discovery.ZookeeperInstance',
    id: `${service}:${port}`,
    name: service,
    metadata: { ...metadata, instance_status: isOut === true ? 'OUT_OF_SERVICE' : 'UP' },
  };
  return JSON.stringify({
    name: service,
    id: `i-${port}`,
    address: '127.0.0.1',
    port,
    sslPort: null,
    payload,
    registrationTimeUTC: 1_795_357_361_954,
    serviceType: 'DYNAMIC',
    uriSpec: null,
  });
}

/** An application with a session of its own, over a link that can be cut. */
interface App {
  readonly session: ZookeeperSession;
  readonly link: TcpLink;
  record: string;
}

export const APP_SESSION_MS = 2000;

export async function connectedSession(address: string, timeoutMs = APP_SESSION_MS): Promise<ZookeeperSession> {
  const session = sessionAt(address, timeoutMs, () => {});
  session.start();
  await eventually(() => session.isConnected);
  return session;
}

function sessionAt(address: string, timeoutMs: number, connected: (isNew: boolean) => void): ZookeeperSession {
  return new ZookeeperSession(
    // It comes back at once: a session of two seconds would be over while its client waits for its turn.
    { address: parseConnectString(address)!, timeoutMs, auth: '', tls: null, clock: systemClock, random: () => 0.05 },
    { connected, disconnected: () => {}, lost: () => {} },
  );
}

/** A real ZooKeeper with applications that keep ephemeral nodes with it. */
export async function zookeeperWorld(): Promise<RegistryWorld & { readonly server: Zookeeper }> {
  const server = await startZookeeper();
  const apps = new Map<string, App>();
  const pathOf = (service: string, port: number) => `/services/${service}/i-${port}`;
  const put = async (app: App, path: string) => {
    const stat = await app.session.exists(path);
    if (stat !== null && stat.ephemeralOwner === app.session.id) return app.session.set(path, Buffer.from(app.record));
    await app.session.ensure(path.slice(0, path.lastIndexOf('/')));
    if (stat !== null) await app.session.delete(path);
    await app.session.create(path, Buffer.from(app.record), { isEphemeral: true });
  };
  const begin = async (path: string, record: string): Promise<App> => {
    const link = await startTcpLink(server.port);
    const app: App = {
      link,
      record,
      session: sessionAt(`127.0.0.1:${link.port}`, APP_SESSION_MS, (isNew) => {
        if (isNew && app.session !== undefined) put(app, path).catch(() => {});
      }),
    };
    apps.set(path, app);
    app.session.start();
    return app;
  };
  const die = async (path: string) => {
    const app = apps.get(path);
    apps.delete(path);
    await app?.link.close();
    await app?.session.close();
  };
  return {
    server,
    settings: { kind: 'zookeeper', address: `127.0.0.1:${server.port}`, session: '2s' },
    async register(service, endpoint) {
      const path = pathOf(service, endpoint.port);
      const record = curatorRecord(service, endpoint);
      const app = apps.get(path) ?? (await begin(path, record));
      app.record = record;
      await eventually(() => app.session.isConnected && put(app, path).then(() => true), { intervalMs: 50 });
    },
    async deregister(service, port) {
      const path = pathOf(service, port);
      const session = apps.get(path)?.session;
      // An application whose server was away leaves when it is connected again.
      if (session !== undefined)
        await eventually(() => session.isConnected && session.delete(path).then(() => true), { intervalMs: 50 });
      await session?.close();
      await die(path);
    },
    die: (service, port) => die(pathOf(service, port)),
    async wipe(service) {
      const session = await connectedSession(`127.0.0.1:${server.port}`);
      const names = (await session.children(`/services/${service}`))!.names;
      await Promise.all(names.map((name) => session.delete(`/services/${service}/${name}`)));
      await session.close();
    },
    kill: () => server.kill(),
    comeBack: (how) => server.comeBack(how),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    async [Symbol.asyncDispose]() {
      await Promise.all([...apps.keys()].map(die));
      await server.stop();
    },
  };
}
