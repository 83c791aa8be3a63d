import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/random.ts';
import { registries } from '../../src/discovery/catalog.ts';
import { eventually } from '../helpers/eventually.ts';
import { freePort } from '../helpers/ports.ts';
import { findProgram, type RunningProcess, startProcess } from '../helpers/processes.ts';
import { RecordingSink } from '../helpers/recording-sink.ts';
import { requireServer } from '../helpers/require-server.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';

const servers = resolve(
  import.meta.dirname,
  '../..',
  process.env.EVENKEEL_SERVERS ?? 'node_modules/.cache/evenkeel-servers',
);
const unpacked = join(servers, 'nsd/usr/sbin/nsd');
const nsd = existsSync(unpacked) ? unpacked : findProgram('nsd', ['/usr/sbin', '/usr/local/sbin']);
const libraries = { LD_LIBRARY_PATH: join(servers, 'nsd/usr/lib/x86_64-linux-gnu') };

const ZONE = `$ORIGIN shop.test.
$TTL 1
@ SOA ns hostmaster SERIAL 60 60 600 1
@ NS ns
ns A 127.0.0.1
a A 127.0.1.1
b A 127.0.1.2
b AAAA ::1
alias CNAME b
_http._tcp SRV 1 7 8081 a
_http._tcp SRV 1 1 8082 b
_http._tcp SRV 2 0 8083 a
`;

describe.skipIf(requireServer('nsd', nsd))('the dns registry against a real NSD', () => {
  const stack: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of stack.splice(0).reverse()) await close();
  });

  /** An NSD of a test's own, which answers for shop.test. */
  async function startNsd() {
    const directory = await temporaryDirectory('nsd');
    stack.push(() => directory.close());
    const port = await freePort();
    let serial = 1;
    const write = (more: string) => directory.write('zone', ZONE.replace('SERIAL', String(serial++)) + more);
    await write('');
    const path = directory.path;
    const configuration = await directory.write(
      'nsd.conf',
      `server:\n  ip-address: 127.0.0.1@${port}\n  username: ""\n  chroot: ""\n  zonesdir: "${path}"\n  database: ""\n  pidfile: "${path}/nsd.pid"\n` +
        `  xfrdfile: "${path}/xfrd"\n  xfrdir: "${path}"\n  zonelistfile: "${path}/zones"\n  cookie-secret-file: "${path}/cookie"\n  server-count: 1\n  verbosity: 1\n` +
        `remote-control:\n  control-enable: no\nzone:\n  name: shop.test\n  zonefile: "${path}/zone"\n`,
    );
    let running: RunningProcess | null = null;
    const start = async () => {
      running = await startProcess(nsd!, ['-d', '-c', configuration], { env: libraries, ready: /nsd started/ });
    };
    const stop = async () => {
      const pid = running!.pid;
      await running!.stop(2000);
      // Its own processes end a little later.
      await eventually(() => !isAlive(-pid));
    };
    await start();
    stack.push(stop);
    const reload = async (more: string) => {
      await write(more);
      running!.kill('SIGHUP');
    };
    return { address: `127.0.0.1:${port}`, start, stop, reload };
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
    const { address } = await startNsd();
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
    const server = await startNsd();
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

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
