import { eventually } from '../helpers/eventually.ts';
import { type Etcd, startEtcd } from './etcd.ts';
import type { AppEndpoint, RegistryWorld } from './registry-suite.ts';

/** The life of a lease, in seconds. */
export const LEASE_S = 2;

const encode = (text: string) => Buffer.from(text).toString('base64');

function record({ port, weight = 1, zone, version, tags, isOut }: AppEndpoint): string {
  const status = isOut === true ? 'OUT_OF_SERVICE' : 'UP';
  return JSON.stringify({ host: '127.0.0.1', port, weight, zone, version, tags, status });
}

/** An application that keeps a key under a lease, as any of them does by plain HTTP. */
interface App {
  lease: string | null;
  value: string;
  readonly timer: NodeJS.Timeout;
}

/** A real etcd with applications that keep keys with it. */
export async function etcdWorld(): Promise<RegistryWorld & { readonly server: Etcd }> {
  const server = await startEtcd();
  const apps = new Map<string, App>();
  const keyOf = (service: string, port: number) => `/services/${service}/127.0.0.1:${port}`;
  const put = async (app: App, key: string) => {
    app.lease ??= (await server.call('/v3/lease/grant', { TTL: LEASE_S })).ID as string;
    await server.call('/v3/kv/put', { key: encode(key), value: encode(app.value), lease: app.lease });
  };
  const beat = async (app: App, key: string) => {
    const answer = await server.call('/v3/lease/keepalive', { ID: app.lease });
    if (Number(answer.result?.TTL ?? 0) > 0) return;
    app.lease = null;
    if (apps.get(key) === app) await put(app, key);
  };
  const forget = (key: string) => {
    const app = apps.get(key);
    clearInterval(app?.timer);
    apps.delete(key);
    return app;
  };
  return {
    server,
    settings: { kind: 'etcd', address: server.address },
    async register(service, endpoint) {
      const key = keyOf(service, endpoint.port);
      let app = apps.get(key);
      if (app === undefined) {
        const timer = setInterval(() => beat(app!, key).catch(() => {}), (LEASE_S * 1000) / 4);
        app = { lease: null, value: '', timer };
        apps.set(key, app);
      }
      app.value = record(endpoint);
      await eventually(
        () =>
          put(app, key).then(
            () => true,
            () => {
              app.lease = null;
              return false;
            },
          ),
        { intervalMs: 50 },
      );
    },
    async deregister(service, port) {
      const app = forget(keyOf(service, port));
      await server.call('/v3/lease/revoke', { ID: app?.lease });
    },
    async die(service, port) {
      forget(keyOf(service, port));
    },
    async wipe(service) {
      await server.call('/v3/kv/deleterange', {
        key: encode(`/services/${service}/`),
        range_end: encode(`/services/${service}0`),
      });
    },
    kill: () => server.kill(),
    comeBack: (how) => server.comeBack(how),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    async [Symbol.asyncDispose]() {
      for (const key of [...apps.keys()]) forget(key);
      await server.stop();
    },
  };
}
