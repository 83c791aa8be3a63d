import { describe, expect, it } from 'vitest';
import { readDubboName, writeDubboName } from '../../../src/discovery/dubbo-url.ts';
import { type RecordFormat, readRecord, writeRecord } from '../../../src/discovery/record-json.ts';
import { servicePath } from '../../../src/discovery/service-path.ts';

const read = (text: string, formats: readonly RecordFormat[] | null = null, name = 'a') =>
  readRecord(Buffer.from(text), { name, generation: '7' }, formats);

// What Curator 5.4 wrote into a real ZooKeeper.
const curator =
  '{"name":"web","id":"i-1","address":"127.0.0.1","port":8080,"sslPort":null,"payload":null,"registrationTimeUTC":1795357361954,"serviceType":"DYNAMIC","uriSpec":null}';
const spring =
  '{"name":"app","id":"i-2","address":"127.0.0.1","port":8080,"sslPort":8443,"payload":{"@class":"R$P","id":"app:8080","name":"app","metadata":{"zone":"z1","instance_status":"UP"}},"registrationTimeUTC":1795357362193,"serviceType":"DYNAMIC","uriSpec":{"parts":[{"value":"scheme","variable":true}]}}';

describe('a record', () => {
  it("is read as Curator's, with the metadata of its payload", () => {
    expect(read(curator)).toMatchObject({ host: '127.0.0.1', port: 8080, weight: 1, status: 'up', generation: '7' });
    expect(read(spring)).toMatchObject({ zone: 'z1', metadata: { zone: 'z1', instance_status: 'UP' } });
    const weighted = spring.replace('"zone":"z1"', '"weight":"2.5","version":"3","tags":"a, b"');
    expect(read(weighted)).toMatchObject({ weight: 2.5, version: '3', tags: ['a', 'b'] });
    expect(read(curator.replace('"port":8080,"sslPort":null', '"port":null,"sslPort":8443'))?.port).toBe(8443);
  });

  it.each([
    ['"instance_status":"OUT_OF_SERVICE"', 'draining'],
    ['"instance_status":"DOWN"', 'down'],
    ['"instance_status":"STARTING"', 'down'],
    ['"instance_status":"UNKNOWN"', 'up'],
  ])('of %s is %s', (words, status) => {
    expect(read(spring.replace('"instance_status":"UP"', words))?.status).toBe(status);
  });

  it('that its operator switched off drains', () => {
    expect(read(curator.replace('"uriSpec"', '"enabled":false,"uriSpec"'))?.status).toBe('draining');
  });

  it("is read as nerve's, as a serverset's, as gRPC naming's and as plain text", () => {
    const nerve = '{"host":"10.0.0.1","port":3000,"name":"i-1","weight":4,"labels":{"az":"eu-1"}}';
    expect(read(nerve)).toMatchObject({ host: '10.0.0.1', port: 3000, weight: 4, zone: 'eu-1' });
    const serverset = '{"serviceEndpoint":{"host":"10.0.0.1","port":31},"additionalEndpoints":{},"status":"ALIVE"}';
    expect(read(serverset)).toMatchObject({ host: '10.0.0.1', port: 31, status: 'up' });
    expect(read('{"Op":0,"Addr":"1.2.3.4:80","Metadata":null}')).toMatchObject({ host: '1.2.3.4', port: 80 });
    expect(read('{"Op":1,"Addr":"1.2.3.4:80"}')).toBeNull();
    expect(read('[::1]:80\n')).toMatchObject({ host: '::1', port: 80 });
    expect(read('', null, '10.0.0.9:81')).toMatchObject({ host: '10.0.0.9', port: 81 });
  });

  it('in another format than the one asked for is none', () => {
    expect(read(curator, ['nerve'])).toBeNull();
    expect(read(curator, ['plain'])).toBeNull();
    expect(read('10.0.0.1:80', ['curator'])).toBeNull();
    expect(read('{"host":"10.0.0.1","port":1}', ['curator'])).toBeNull();
  });

  it.each([
    '',
    '{',
    '{}',
    '[]',
    'null',
    'nonsense',
    '{"address":"a"}',
    '{"host":"a","port":"x"}',
    '{"host":7,"port":1}',
  ])('that says %j is none', (text) => {
    expect(read(text)).toBeNull();
  });

  it('of our own is read back as it was written, in every format', () => {
    const self = {
      service: 'web',
      id: 'web-1',
      host: '::1',
      port: 81,
      weight: 2.5,
      tags: ['a', 'b'],
      metadata: { zone: 'z', version: '3' },
      ttlMs: 1000,
    };
    for (const format of ['curator', 'nerve', 'grpc'] as const) {
      const told = readRecord(writeRecord(self, format, 5), { name: 'web-1', generation: '' }, [format]);
      expect(told).toMatchObject({ host: '::1', port: 81, weight: 2.5, zone: 'z', version: '3', tags: ['a', 'b'] });
    }
    expect(writeRecord(self, 'plain', 5).toString()).toBe('[::1]:81');
    const dubbo = readDubboName(writeDubboName(self, 5));
    expect(dubbo).toMatchObject({ host: '::1', port: 81, weight: 2.5, zone: 'z', version: '3', generation: '5' });
  });
});

describe("a name of Dubbo's", () => {
  const encoded = (query: string) => encodeURIComponent(`dubbo://10.0.0.5:20880/org.shop.Orders?${query}`);

  it('is a provider with its weight in hundredths, version, tag and start', () => {
    const told = readDubboName(encoded('application=shop&weight=200&version=1.0&timestamp=99&dubbo.tag=blue'));
    expect(told).toMatchObject({ host: '10.0.0.5', port: 20880, weight: 2, version: '1.0', tags: ['blue'] });
    expect(told).toMatchObject({ generation: '99', status: 'up', metadata: { protocol: 'dubbo' } });
    expect(readDubboName(encoded(''))?.weight).toBe(1);
    expect(readDubboName(encoded('disabled=true'))?.status).toBe('draining');
  });

  it.each([encodeURIComponent('empty://10.0.0.5/org.shop.Orders?category=providers'), '%', 'x'])(
    '%s is none',
    (name) => {
      expect(readDubboName(name)).toBeNull();
    },
  );
});

it("puts a service's name and datacenter into a path as they are", () => {
  expect(servicePath('/{datacenter}/s/{service}/x', { name: 'a$&b', tags: [], datacenter: 'eu' })).toBe('/eu/s/a$&b/x');
  expect(servicePath('/s/{datacenter}/{service}', { name: '/deep/er', tags: [] })).toBe('/s/deep/er');
});
