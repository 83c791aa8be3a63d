import { rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { FileRegistry } from '../../../src/discovery/file.ts';
import { eventually } from '../../helpers/eventually.ts';
import { RecordingSink } from '../../helpers/recording-sink.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../../helpers/temporary-directory.ts';

const yaml = (ports: readonly number[], service = 'web') =>
  `services:\n  ${service}:\n${ports.map((port) => `    - { address: "127.0.0.1:${port}" }\n`).join('')}`;

describe('the file registry', () => {
  let directory: TemporaryDirectory;
  const stack: (() => Promise<void>)[] = [];

  beforeEach(async () => {
    directory = await temporaryDirectory('file-registry');
  });
  afterEach(async () => {
    for (const close of stack.splice(0).reverse()) await close();
    await directory.close();
  });

  async function told(path: string, ...services: string[]): Promise<RecordingSink[]> {
    const registry = new FileRegistry(
      { path },
      { name: 'file', clock: systemClock, random: systemRandom, log: () => {} },
    );
    stack.push(() => registry.close());
    const sinks = services.map((name) => {
      const sink = new RecordingSink();
      registry.subscribe({ name, tags: [] }, sink);
      return sink;
    });
    await registry.start();
    return sinks;
  }

  const ports = (sink: RecordingSink) => sink.last?.endpoints.map(({ port }) => port);

  it('reads every field an endpoint has in a pool, and how fit it is', async () => {
    const full = {
      address: '[fd00::1]:80',
      weight: 2.5,
      zone: 'a',
      backup: true,
      version: '7',
      tags: ['x'],
      metadata: { k: 'v' },
      status: 'draining',
    };
    const file = await directory.write(
      'services.json',
      JSON.stringify({ services: { web: [full, { address: 'name.internal:81' }] } }),
    );
    const [sink] = await told(file, 'web');
    const { address: _, ...rest } = full;
    expect(sink.last!.endpoints).toMatchObject([
      { ...rest, host: 'fd00::1', port: 80 },
      { host: 'name.internal', weight: 1, status: 'up' },
    ]);
  });

  it('follows a file that is renamed over, rewritten in two steps, deleted and made again', async () => {
    const file = await directory.write('services.yaml', yaml([1]));
    const [sink] = await told(file, 'web');
    expect(ports(sink)).toEqual([1]);
    await rename(await directory.write('.services.yaml.swp', yaml([1, 2])), file);
    await eventually(() => expect(ports(sink)).toEqual([1, 2]));
    await writeFile(file, yaml([1, 2, 3]).slice(0, 30));
    await writeFile(file, yaml([1, 2, 3]));
    await eventually(() => expect(ports(sink)).toEqual([1, 2, 3]));
    await rm(file);
    await writeFile(file, yaml([4]));
    await eventually(() => expect(ports(sink)).toEqual([4]));
    expect(sink.errors).toEqual([]);
  });

  it('keeps what it knows while the file is half written or wrong, and says where', async () => {
    const file = await directory.write('services.yaml', yaml([1, 2]));
    const [sink] = await told(file, 'web');
    await writeFile(
      file,
      'services:\n  web:\n    - { address: "127.0.0.1:1", wieght: 5 }\n    - { address: nonsense }\n',
    );
    await eventually(() => sink.errors.length === 1);
    expect(sink.errors[0].message.split('\n')).toEqual([
      `${file}:3:33  services.web[0].wieght  unknown key; did you mean "weight"?`,
      expect.stringContaining(`${file}:4:18  services.web[1].address  "nonsense" is not an address`),
    ]);
    expect(sink.errors[0]).toMatchObject({ code: 'registry-unreadable', retryable: true });
    await writeFile(file, '{ "services": { "web": [');
    await eventually(() => sink.errors.length === 2);
    expect(sink.errors[1].message).toContain(`${file}:1:`);
    expect(ports(sink)).toEqual([1, 2]);
    await writeFile(file, yaml([3]));
    await eventually(() => expect(ports(sink)).toEqual([3]));
    expect(sink.last!.suspicion).toBe('after-reconnect');
  });

  it('reads the files of a directory: a list is the service of its name; one wrong file holds up only what it names', async () => {
    await directory.write('d/web.yaml', '- { address: "127.0.0.1:1" }\n');
    await directory.write(
      'd/more.json',
      JSON.stringify({ services: { web: [{ address: '127.0.0.1:2' }], api: [{ address: '127.0.0.1:9' }] } }),
    );
    await directory.write('d/notes.txt', 'not for us');
    const [web, api, none] = await told(join(directory.path, 'd'), 'web', 'api', 'none');
    expect([ports(web), ports(api), ports(none)]).toEqual([[1, 2], [9], []]);
    await directory.write('d/web.yaml', '- { address: "127.0.0.1:3" }\n');
    await eventually(() => expect(ports(web)).toEqual([2, 3]));
    await directory.write('d/web.yaml', '- { address: ');
    await eventually(() => web.errors.length === 1 && none.errors.length === 1);
    await directory.write(
      'd/more.json',
      JSON.stringify({ services: { web: [{ address: '127.0.0.1:2' }], api: [{ address: '127.0.0.1:10' }] } }),
    );
    await eventually(() => expect(ports(api)).toEqual([10]));
    expect(api.errors).toEqual([]);
    expect(ports(web)).toEqual([2, 3]);
    await rm(join(directory.path, 'd/web.yaml'));
    await eventually(() => expect(ports(web)).toEqual([2]));
  });

  it.each([
    ['that was empty', []],
    ['behind the others', ['a.yaml', 'b.yaml']],
  ])('notices a file that comes into a directory %s, and what becomes of it', async (_, others) => {
    await directory.write('d/.keep', '');
    for (const name of others) await directory.write(`d/${name}`, '- { address: "127.0.0.1:9" }\n');
    const [web] = await told(join(directory.path, 'd'), 'web');
    expect(ports(web)).toEqual([]);
    await directory.write('d/web.yaml', '- { address: "127.0.0.1:1" }\n');
    await eventually(() => expect(ports(web)).toEqual([1]));
    await directory.write('d/web.yaml', '- { address: "127.0.0.1:2" }\n');
    await eventually(() => expect(ports(web)).toEqual([2]));
  });

  it('follows the links of a volume that Kubernetes swaps as one', async () => {
    await directory.write('v1/services.yaml', yaml([1]));
    await directory.write('v2/services.yaml', yaml([2]));
    await symlink('v1', join(directory.path, '..data'));
    await symlink('..data/services.yaml', join(directory.path, 'services.yaml'));
    const [sink] = await told(join(directory.path, 'services.yaml'), 'web');
    expect(ports(sink)).toEqual([1]);
    await symlink('v2', join(directory.path, '..new'));
    await rename(join(directory.path, '..new'), join(directory.path, '..data'));
    await eventually(() => expect(ports(sink)).toEqual([2]));
  });

  it('starts without a file, says so, and reads it when it comes', async () => {
    const file = join(directory.path, 'later.yaml');
    const [sink] = await told(file, 'web');
    expect(sink.errors[0].message).toContain(`${file} cannot be read`);
    expect(sink.sets).toEqual([]);
    await writeFile(file, yaml([1]));
    await eventually(() => expect(ports(sink)).toEqual([1]));
  });
});
