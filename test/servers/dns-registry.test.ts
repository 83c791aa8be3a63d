import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/random.ts';
import { registries } from '../../src/discovery/catalog.ts';
import { eventually } from '../helpers/eventually.ts';
import { RecordingSink } from '../helpers/recording-sink.ts';
import { requireServer } from '../helpers/require-server.ts';
import { findNsd, type Nsd, startNsd } from './nsd.ts';

describe.skipIf(requireServer('nsd', findNsd()))('the dns registry against a real NSD', () => {
  const stack: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of stack.splice(0).reverse()) await close();
  });

  async function startedNsd(): Promise<Nsd> {
    const nsd = await startNsd();
    stack.push(() => nsd.close());
    return nsd;
  }

  async function told(address: string, ...names: string[]): Promise<RecordingSink[]> {
    const settings = registries
      .schema()
      .parse({ kind: 'dns', resolvers: [address], timeout: '1s', ttl: { min: '200ms', max: '1s' } });
    const registry = registries.create(settings, {
      name: 'dns',
      clock: systemClock,
      random: systemRandom,
      log: () => {},
    });
    stack.push(() => registry.close());
    const sinks = names.map((name) => {
      const sink = new RecordingSink();
      registry.subscribe({ name, tags: [] }, sink);
      return sink;
    });
    await registry.start();
    await eventually(() => sinks.every(({ sets }) => sets.length > 0));
    return sinks;
  }

  const shown = (sink: RecordingSink) =>
    sink.last!.endpoints.map(({ host, port, weight, backup }) => `${host}:${port} ${weight}${backup ? ' backup' : ''}`);

  it('reads SRV with priorities and weights, addresses of both families, aliases, and names that are not there', async () => {
    const { address } = await startedNsd();
    const [srv, both, alias, none] = await told(
      address,
      '_http._tcp.shop.test',
      'b.shop.test:80',
      'alias.shop.test:80',
      'none.shop.test:80',
    );
    expect(shown(srv)).toEqual(
      ['127.0.1.1:8081 7', '127.0.1.1:8083 1 backup', '127.0.1.2:8082 1', '::1:8082 1'].sort(byId),
    );
    expect(shown(both)).toEqual(['127.0.1.2:80 1', '::1:80 1']);
    expect(shown(alias)).toEqual(shown(both));
    expect(none.sets[0]).toEqual({ endpoints: [], suspicion: null });
  });

  it('reads 200 endpoints that fit no datagram, follows the zone, and keeps all of it while the server is gone', async () => {
    const server = await startedNsd();
    const many = (count: number) =>
      Array.from({ length: count }, (_, i) => `h${i} A 127.0.2.${i + 1}\n_many._tcp SRV 1 1 9000 h${i}\n`).join('');
    await server.reload(many(200));
    const [sink] = await told(server.address, '_many._tcp.shop.test');
    await eventually(() => expect(sink.last!.endpoints).toHaveLength(200));
    await server.reload(many(150));
    await eventually(() => expect(sink.last!.endpoints).toHaveLength(150));
    await server.stop();
    await eventually(() => sink.errors.length > 0);
    expect(sink.errors[0]).toMatchObject({ code: 'registry-unreachable' });
    expect(sink.last!.endpoints).toHaveLength(150);
    await server.start();
    const sets = sink.sets.length;
    await eventually(() => sink.sets.length > sets);
    expect(sink.last!.endpoints).toHaveLength(150);
  });
});

function byId(one: string, other: string): number {
  const key = (text: string) => text.replace(/^(::1):/, '[$1]:').split(' ')[0];
  return key(one) < key(other) ? -1 : 1;
}
