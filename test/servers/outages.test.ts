import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'vitest';
import { KubernetesDouble } from '../helpers/kubernetes-double.ts';
import { startOrigin } from '../helpers/origin.ts';
import { requireServer } from '../helpers/require-server.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';
import { findNsd, startNsd } from './nsd.ts';
import { expectNothingLostInAnOutage, type Outage } from './outage-under-load.ts';

/** A registry that knows of endpoints on these ports of 127.0.0.1. */
interface World extends Outage {
  readonly settings: Record<string, unknown>;
  /** What it calls the service. */
  readonly service?: string;
}

const kinds: { kind: string; skip: boolean; start: (t: TestContext, ports: readonly number[]) => Promise<World> }[] = [
  {
    kind: 'kubernetes',
    skip: false,
    async start({ onTestFinished }, ports) {
      const server = new KubernetesDouble();
      await server.start();
      onTestFinished(() => server.stop());
      for (const port of ports)
        server.put(`load-${port}`, { service: 'load', ports: [{ port }] }, [{ address: '127.0.0.1' }]);
      return {
        settings: { kind: 'kubernetes', server: server.address },
        goAway: () => server.stop(),
        comeBack: () => server.start(),
      };
    },
  },
  {
    kind: 'dns',
    skip: requireServer('nsd', findNsd()),
    async start({ onTestFinished }, ports) {
      const records = ports.map((port) => `_load._tcp SRV 1 1 ${port} local\n`).join('');
      const nsd = await startNsd(`local A 127.0.0.1\n${records}`);
      onTestFinished(() => nsd.close());
      return {
        settings: { kind: 'dns', resolvers: [nsd.address], timeout: '1s', ttl: { min: '200ms', max: '1s' } },
        service: '_load._tcp.shop.test',
        goAway: () => nsd.stop(),
        comeBack: () => nsd.start(),
      };
    },
  },
  {
    kind: 'file',
    skip: false,
    async start({ onTestFinished }, ports) {
      const directory = await temporaryDirectory('outage');
      onTestFinished(() => directory.close());
      const write = (text: string) => directory.write('services.json', text);
      const path = await write(servicesOf(ports));
      return {
        settings: { kind: 'file', path },
        goAway: async () => void (await write('{ "services": { "load": [')),
        comeBack: async () => void (await write(servicesOf(ports))),
      };
    },
  },
  {
    kind: 'http',
    skip: false,
    async start({ onTestFinished }, ports) {
      const server = createServer((_request, response) => void response.end(servicesOf(ports)));
      const listen = async (port: number) => {
        server.listen(port, '127.0.0.1');
        await once(server, 'listening');
        return (server.address() as AddressInfo).port;
      };
      const stop = async () => {
        server.closeAllConnections();
        if (server.listening) await new Promise((done) => server.close(done));
      };
      const port = await listen(0);
      onTestFinished(stop);
      return {
        settings: { kind: 'http', url: `http://127.0.0.1:${port}/`, interval: '200ms' },
        goAway: stop,
        comeBack: async () => void (await listen(port)),
      };
    },
  },
];

function servicesOf(ports: readonly number[]): string {
  return JSON.stringify({ services: { load: ports.map((port) => ({ address: `127.0.0.1:${port}` })) } });
}

describe.each(kinds)('the $kind registry', ({ skip, start }) => {
  it.skipIf(skip)('loses no request while the registry is gone', { timeout: 120_000 }, async (t) => {
    const origins = await Promise.all([startOrigin({ name: 'a' }), startOrigin({ name: 'b' })]);
    t.onTestFinished(() => void Promise.all(origins.map((origin) => origin.close())));
    const world = await start(
      t,
      origins.map(({ port }) => port),
    );
    await expectNothingLostInAnOutage(world, world.settings, origins, world.service);
  });
});
