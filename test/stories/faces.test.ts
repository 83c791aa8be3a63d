import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { request } from 'undici';
import { type Balancer, createBalancer } from '../../src/embed/balancer.ts';
import { startOrigins } from '../helpers/balanced-origins.ts';
import { type Face, faceStories, type StartedFace } from '../helpers/face-stories.ts';
import { startProxy } from '../helpers/proxy.ts';
import { ask } from '../helpers/raw-client.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';
import { askByUdp, startUdpOrigins } from '../helpers/udp-origins.ts';

/** A face of a balancer in this process. `open` says how one asks by it, and how that is ended. */
function embedded(
  name: string,
  open: (balancer: Balancer) => Promise<{ ask(): Promise<string>; close(): Promise<void> }>,
): Face {
  return {
    name,
    async start(pool, registries): Promise<StartedFace> {
      const state = await temporaryDirectory('state');
      const options = (orders: object) => ({ registries, pools: { orders }, runtime: { state: state.path } }) as never;
      const balancer = await createBalancer(options(pool));
      const opened = await open(balancer);
      return {
        ask: opened.ask,
        reload: (next) => balancer.reload(options(next)),
        async setEndpoint(id, change) {
          balancer.pools.orders.setEndpoint(id, change);
        },
        async [Symbol.asyncDispose]() {
          await opened.close();
          await balancer.close();
          await state.close();
        },
      };
    },
  };
}

faceStories(
  embedded('a dispatcher', async (balancer) => ({
    ask: async () => (await request('http://orders/', { dispatcher: balancer.dispatcher() })).body.text(),
    close: async () => {},
  })),
);

faceStories(
  embedded('a middleware', async (balancer) => {
    const server = createServer(balancer.middleware('orders')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    return {
      ask: () => askByHttp(port),
      close: async () => {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      },
    };
  }),
);

async function askByHttp(port: number): Promise<string> {
  const { status, text } = await ask(port, 'GET', '/');
  if (status !== 200) throw new Error(`${status} ${text}`);
  return text;
}

/** A listener of a whole proxy. `askPort` says how one asks by it. */
const listener = (settings: { protocol: string; udp?: object }, askPort: (port: number) => Promise<string>): Face => ({
  name: `a listener of protocol ${settings.protocol}`,
  origins: settings.protocol === 'udp' ? startUdpOrigins : startOrigins,
  async start(pool, registries) {
    const document = (orders: object) => ({
      registries,
      listeners: [{ name: 'web', bind: '127.0.0.1:0', ...settings, pool: 'orders' }],
      pools: { orders },
    });
    const proxy = await startProxy(document(pool));
    return {
      ask: () => askPort(proxy.port()),
      async reload(next) {
        await proxy.write(document(next));
        await proxy.reload();
      },
      async setEndpoint(id, change) {
        await proxy.api(`/api/v1/pools/orders/endpoints/${id}`, { method: 'PATCH', body: change });
      },
      async [Symbol.asyncDispose]() {
        await proxy.stop();
      },
    };
  },
});

faceStories(listener({ protocol: 'http' }, askByHttp));
faceStories(listener({ protocol: 'tcp' }, askByHttp));
// A session a question, as a connection a question is over TCP.
faceStories(listener({ protocol: 'udp', udp: { replies: 1 } }, askByUdp));
