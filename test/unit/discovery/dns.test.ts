import type { Answer } from 'dns-packet';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { registries } from '../../../src/discovery/catalog.ts';
import type { Registry } from '../../../src/discovery/registry.ts';
import { DnsDouble, reply } from '../../helpers/dns-double.ts';
import { eventually } from '../../helpers/eventually.ts';
import { RecordingSink } from '../../helpers/recording-sink.ts';

const a = (name: string, data: string, ttl = 0): Answer => ({ type: 'A', name, ttl, data });
const aaaa = (name: string, data: string, ttl = 0): Answer => ({ type: 'AAAA', name, ttl, data });
const cname = (name: string, data: string, ttl = 0): Answer => ({ type: 'CNAME', name, ttl, data });
const srv = (target: string, port: number, priority = 1, weight = 1, ttl = 0): Answer => {
  return { type: 'SRV', name: '_http._tcp.web', ttl, data: { target, port, priority, weight } };
};

describe('the dns registry', () => {
  let server: DnsDouble;
  const stack: (() => Promise<void>)[] = [];

  beforeEach(async () => {
    server = new DnsDouble();
    await server.start();
  });
  afterEach(async () => {
    for (const close of stack.splice(0).reverse()) await close();
    await server.stop();
  });

  function make(settings: object = {}): Registry {
    const parsed = registries
      .schema()
      .parse({ kind: 'dns', resolvers: [server.address], timeout: '300ms', ttl: { min: '100ms' }, ...settings });
    const registry = registries.create(parsed, {
      name: 'dns',
      clock: systemClock,
      random: systemRandom,
      log: () => {},
    });
    stack.push(() => registry.close());
    return registry;
  }

  async function told(service: string, settings: object = {}): Promise<RecordingSink> {
    const sink = new RecordingSink();
    const registry = make(settings);
    registry.subscribe({ name: service, tags: [] }, sink);
    await registry.start();
    await eventually(() => sink.sets.length + sink.errors.length > 0);
    return sink;
  }

  const shown = (sink: RecordingSink) =>
    (sink.last?.endpoints ?? []).map(
      ({ host, port, weight, backup }) => `${host}:${port} ${weight}${backup ? ' backup' : ''}`,
    );

  it('makes endpoints of the addresses of a name and a port, both families, behind aliases', async () => {
    server.records.push(
      cname('web.internal', 'lb.internal'),
      a('lb.internal', '10.0.0.1'),
      aaaa('lb.internal', 'fd00::1'),
    );
    const sink = await told('web.internal:8080');
    expect(shown(sink)).toEqual(['10.0.0.1:8080 1', 'fd00::1:8080 1']);
    expect(sink.last!.endpoints[0].metadata).toEqual({ name: 'web.internal' });
    const only = await told('web.internal:8080', { family: 'ipv6' });
    expect(shown(only)).toEqual(['fd00::1:8080 1']);
  });

  it('reads SRV: the lowest priority serves, others stand by; weights, 0 as rarely; addresses that came along or by further questions', async () => {
    server.records.push(srv('a.web', 81, 1, 7), srv('b.web', 82, 1, 0), srv('c.web', 83, 2, 0), srv('d.web', 84, 2, 0));
    server.records.push(a('c.web', '10.0.0.3'), a('d.web', '10.0.0.4'));
    server.additionals.push(a('a.web', '10.0.0.1'), a('b.web', '10.0.0.2'));
    const sink = await told('_http._tcp.web');
    expect(shown(sink)).toEqual(['10.0.0.1:81 7', '10.0.0.2:82 0.01', '10.0.0.3:83 1 backup', '10.0.0.4:84 1 backup']);
    expect(server.asked.some(({ name }) => name === 'a.web')).toBe(false);
    server.records.length = 0;
    server.records.push(srv('.', 0));
    await eventually(() => expect(shown(sink)).toEqual([]));
  });

  it('asks over TCP when the answer was cut off, also in the middle of a record', async () => {
    for (let i = 1; i <= 100; i++) server.records.push(a('big.web', `10.0.1.${i}`));
    server.script = ({ id, name, type, over }, whole) => {
      if (over === 'tcp') return whole();
      if (type === 'AAAA') return reply(id, name, type, { truncated: true });
      const cut = whole().subarray(0, 507);
      cut[2] |= 0x02;
      return cut;
    };
    const sink = await told('big.web:80');
    expect(sink.last!.endpoints).toHaveLength(100);
    expect(
      server.asked
        .filter(({ over }) => over === 'tcp')
        .map(({ type }) => type)
        .sort(),
    ).toEqual(['A', 'AAAA']);
    expect(server.asked.every(({ edns }) => edns)).toBe(true);
  });

  it('believes only an answer to its own question: other IDs, names, types and noise are not looked at', async () => {
    server.records.push(a('web.internal', '10.0.0.1'));
    const evil = { answers: [a('web.internal', '6.6.6.6')] };
    server.script = ({ id, name, type }, whole) => [
      reply((id + 1) & 0xffff, name, type, evil),
      reply(id, 'other.internal', type, { answers: [a('other.internal', '6.6.6.6')] }),
      reply(id, name, 'TXT', evil),
      Buffer.from([id >> 8, id & 0xff, 0x81, 0x80, 0, 1, 0, 9, 0, 0, 0, 0, 0xc0, 0x0c]),
      Buffer.from('noise'),
      // A question comes back as it was: no answer at all.
      Buffer.concat([whole().subarray(0, 2), Buffer.from([0x01]), whole().subarray(3)]),
      whole(),
    ];
    const sink = await told('web.internal:80', { family: 'ipv4' });
    expect(shown(sink)).toEqual(['10.0.0.1:80 1']);
    await eventually(() => server.asked.length >= 6);
    // Nor can the next one be guessed.
    expect(new Set(server.asked.map(({ id }) => id)).size).toBeGreaterThan(4);
    expect(new Set(server.asked.map(({ port }) => port)).size).toBeGreaterThan(2);
  });

  it('does without EDNS where a server does not know it', async () => {
    server.records.push(a('web.internal', '10.0.0.1'));
    server.script = ({ id, name, type, edns }, whole) => (edns ? reply(id, name, type, { rcode: 'FORMERR' }) : whole());
    const sink = await told('web.internal:80', { family: 'ipv4' });
    expect(shown(sink)).toEqual(['10.0.0.1:80 1']);
    await eventually(() => server.asked.length >= 4);
    expect(server.asked.map(({ edns }) => edns).slice(0, 4)).toEqual([true, false, false, false]);
  });

  it('asks the next server when one fails, and each in turn', async () => {
    const other = new DnsDouble();
    await other.start();
    stack.push(() => other.stop());
    for (const one of [server, other]) one.records.push(a('web.internal', '10.0.0.1'));
    const resolvers = [server.address, other.address];
    await told('web.internal:80', { resolvers });
    await eventually(() => server.asked.length > 1 && other.asked.length > 1);
    server.script = ({ id, name, type }) => reply(id, name, type, { rcode: 'SERVFAIL' });
    const failing = server.asked.length;
    const sink = await told('web.internal:80', { resolvers });
    await eventually(() => server.asked.length > failing && sink.sets.length > 3);
    expect(sink.errors).toEqual([]);
  });

  it.each([
    ['SERVFAIL', ({ id, name, type }) => reply(id, name, type, { rcode: 'SERVFAIL' })],
    ['silence', () => null],
    ['REFUSED', ({ id, name, type }) => reply(id, name, type, { rcode: 'REFUSED' })],
  ] as [string, DnsDouble['script']][])('keeps what it knows through %s, and says so once', async (_what, script) => {
    server.records.push(a('web.internal', '10.0.0.1'));
    const sink = await told('web.internal:80');
    const { script: well } = server;
    server.script = script;
    await eventually(() => sink.errors.length > 0);
    expect(sink.errors[0]).toMatchObject({ code: 'registry-unreachable', retryable: true });
    expect(shown(sink)).toEqual(['10.0.0.1:80 1']);
    server.records.push(a('web.internal', '10.0.0.2'));
    server.script = well;
    await eventually(() => expect(shown(sink)).toEqual(['10.0.0.1:80 1', '10.0.0.2:80 1']));
    expect(sink.sets.find(({ endpoints }) => endpoints.length === 2)!.suspicion).toBe('after-reconnect');
    expect(sink.errors).toHaveLength(1);
  });

  it('tells a name that is suddenly not there as emptied, once', async () => {
    server.records.push(a('web.internal', '10.0.0.1'));
    const sink = await told('web.internal:80');
    server.records.length = 0;
    await eventually(() => sink.sets.filter(({ endpoints }) => endpoints.length === 0).length > 2);
    const empty = sink.sets.filter(({ endpoints }) => endpoints.length === 0);
    expect(empty.map(({ suspicion }) => suspicion).slice(0, 3)).toEqual(['emptied', null, null]);
    const never = await told('never.internal:80');
    expect(never.sets[0]).toEqual({ endpoints: [], suspicion: null });
  });

  it('keeps one family when the server fails for the other, and a target of SRV whose server fails', async () => {
    server.records.push(
      srv('a.web', 81),
      srv('b.web', 82),
      a('a.web', '10.0.0.1'),
      a('b.web', '10.0.0.2'),
      aaaa('b.web', 'fd00::2'),
    );
    const sink = await told('_http._tcp.web');
    expect(shown(sink)).toEqual(['10.0.0.1:81 1', '10.0.0.2:82 1', 'fd00::2:82 1']);
    const { script: well } = server;
    server.script = (asked, whole) =>
      asked.type === 'AAAA' || asked.name === 'a.web'
        ? reply(asked.id, asked.name, asked.type, { rcode: 'SERVFAIL' })
        : well(asked, whole);
    server.records.push(srv('b.web', 83));
    await eventually(() => expect(shown(sink)).toHaveLength(5));
    expect(shown(sink)).toEqual(['10.0.0.1:81 1', '10.0.0.2:82 1', '10.0.0.2:83 1', 'fd00::2:82 1', 'fd00::2:83 1']);
    expect(sink.errors).toEqual([]);
  });

  it('asks when the TTL is over, within its bounds', async () => {
    server.records.push(a('long.web', '10.0.0.1', 3600), a('short.web', '10.0.0.2', 0));
    const bounds = { ttl: { min: '150ms', max: '400ms' }, family: 'ipv4' };
    const [long, short] = await Promise.all([told('long.web:80', bounds), told('short.web:80', bounds)]);
    const count = (name: string) => server.asked.filter((one) => one.name === name).length;
    await eventually(() => count('long.web') === 3);
    // 2 × 400…440 ms against 150…165 ms each.
    expect(count('short.web')).toBeGreaterThanOrEqual(4);
    expect(count('short.web')).toBeLessThanOrEqual(8);
    expect(new Set([...long.sets, ...short.sets].map(({ endpoints }) => endpoints)).size).toBe(2);
  });

  it('refuses what is no name of DNS, and aliases that go in a circle', async () => {
    const odd = await told('10.0.0.1:80');
    expect(odd.errors[0].message).toContain('write _http._tcp.example.com for SRV records');
    server.records.push(cname('x.web', 'y.web'), cname('y.web', 'x.web'));
    const circle = await told('x.web:80');
    expect(shown(circle)).toEqual([]);
  });
});
