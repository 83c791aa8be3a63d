import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type ProxyOptions, type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient, request } from '../helpers/raw-client.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';

const canMount = process.platform === 'linux' && process.getuid?.() === 0;

describe('what the process itself runs out of costs as little as it can', () => {
  let origin: Origin;
  let proxy: RunningProxy | null = null;

  beforeEach(async () => {
    origin = await startOrigin({ name: 'fine' });
  });
  afterEach(async () => {
    await proxy?.stop();
    proxy = null;
    await origin.close();
  });

  async function start(more: Record<string, object> = {}, options: ProxyOptions = {}): Promise<RunningProxy> {
    proxy = await startProxy(
      {
        listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
        pools: { web: { endpoints: [{ address: origin.address }] } },
        ...more,
      },
      options,
    );
    return proxy;
  }
  const answer = async () => (await ask(proxy!.port(), 'GET', '/')).text;
  const cpuTicks = () => {
    const fields = readFileSync(`/proc/${proxy!.pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return Number(fields[11]) + Number(fields[12]);
  };

  it('at the ceiling of connections: 503, counted, no spin, and all of it back when they leave', async () => {
    const { port, metric } = await start({ runtime: { workers: 2, connections: 20 } });
    const clients = await Promise.all(Array.from({ length: 20 }, () => rawClient(port())));
    for (const client of clients) {
      client.write(request('GET', '/'));
      expect((await client.response()).status).toBe(200);
    }
    for (let i = 0; i < 30; i++) {
      const refused = await ask(port(), 'GET', '/');
      expect([refused.status, refused.fields.get('x-evenkeel-reason')]).toEqual([503, 'connections']);
    }
    expect(await metric('evenkeel_rejected_total', { reason: 'connections' })).toBe(30);
    const before = cpuTicks();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    // Hundredths of a second: a thread that spins takes a hundred.
    expect(cpuTicks() - before).toBeLessThan(50);
    for (const client of clients) client.socket.destroy();
    await eventually(async () => (await metric('evenkeel_connections_active')) === 0);
    const again = await Promise.all(Array.from({ length: 20 }, () => ask(port(), 'GET', '/')));
    expect(again.map(({ status }) => status)).toEqual(again.map(() => 200));
  });

  it('at the ceiling, connections of a listener that left the document count until they end', async () => {
    const [relay, web] = [
      { name: 'relay', bind: '127.0.0.1:0', protocol: 'tcp', pool: 'web' },
      { name: 'web', bind: '127.0.0.1:0', pool: 'web' },
    ];
    const pools = { web: { endpoints: [{ address: origin.address }] } };
    const runtime = { workers: 2, connections: 20 };
    await start({ runtime, listeners: [web, relay], pools });
    const relayed = await Promise.all(Array.from({ length: 15 }, () => rawClient(proxy!.port('relay'))));
    for (const client of relayed) expect((await client.ask('GET', '/')).text).toBe('fine');
    await proxy!.write({ runtime, listeners: [web], pools });
    expect(await proxy!.reload()).toBe('reloaded');
    const kept = await Promise.all(Array.from({ length: 5 }, () => rawClient(proxy!.port())));
    for (const client of kept) expect((await client.ask('GET', '/')).status).toBe(200);
    const refused = await ask(proxy!.port(), 'GET', '/');
    expect([refused.status, refused.fields.get('x-evenkeel-reason')]).toEqual([503, 'connections']);
    for (const client of relayed) client.socket.destroy();
    await eventually(async () => (await ask(proxy!.port(), 'GET', '/')).status === 200);
    for (const client of kept) client.socket.destroy();
  });

  it.skipIf(!canMount)(
    'a full disk: log and state are lost, counted and said; requests are not (needs root)',
    async () => {
      await using directory = await temporaryDirectory('disk');
      const disk = join(directory.path, 'disk');
      mkdirSync(disk);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]);
      try {
        const { events, metric } = await start({
          log: { access: join(disk, 'access.log') },
          runtime: { state: join(disk, 'state') },
        });
        await writeFile(join(disk, 'ballast'), Buffer.alloc(1 << 20)).catch(() => {});
        for (let i = 0; i < 20; i++) expect(await answer()).toBe('fine');
        await eventually(() => events('access log loses lines').length > 0);
        await eventually(async () => (await metric('evenkeel_access_log_dropped_total')) > 0);
        rmSync(join(disk, 'ballast'));
        await eventually(async () => {
          await answer();
          return events('access log is written again').length > 0;
        });
        await writeFile(join(disk, 'ballast'), Buffer.alloc(1 << 20)).catch(() => {});
        expect(await proxy!.stop()).toBe(0);
        expect(events('health cannot be saved; going on without').length).toBe(1);
      } finally {
        await proxy?.stop();
        proxy = null;
        execFileSync('umount', ['-l', disk]);
      }
    },
  );

  it('an access log that was moved away: SIGUSR1 and a reload begin a new file', async () => {
    const { directory } = await start({ log: { access: './access.log' } });
    const lines = async (name: string) =>
      (await readFile(join(directory, name), 'utf8').catch(() => '')).split('\n').length - 1;
    await answer();
    await eventually(async () => (await lines('access.log')) === 1);
    await rename(join(directory, 'access.log'), join(directory, 'access.1'));
    process.kill(proxy!.pid, 'SIGUSR1');
    await eventually(
      async () =>
        (await lines('access.log')) === 0 &&
        (await readFile(join(directory, 'access.log')).then(
          () => true,
          () => false,
        )),
    );
    await answer();
    await eventually(async () => (await lines('access.log')) === 1);
    await rename(join(directory, 'access.log'), join(directory, 'access.2'));
    await proxy!.reload();
    await answer();
    await eventually(async () => (await lines('access.log')) === 1);
  });

  it('nobody reads stdout any more: lines are lost, requests are not', async () => {
    const { child, events } = await start({ log: { access: 'stdout' } });
    await answer();
    child.closeStdout();
    for (let i = 0; i < 20; i++) expect(await answer()).toBe('fine');
    await eventually(() => events('access log loses lines').length > 0);
    expect(await answer()).toBe('fine');
  });

  it('a state directory that cannot be: said, and neither the start nor the end waits for it', async () => {
    const { events } = await start({ runtime: { state: '/proc/evenkeel/state' } });
    expect(await answer()).toBe('fine');
    expect(await proxy!.stop()).toBe(0);
    expect(events('health cannot be saved; going on without').length).toBe(1);
  });
});
