import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { listenToDatagrams } from '../helpers/datagrams.ts';
import { eventually } from '../helpers/eventually.ts';
import { findProgram } from '../helpers/processes.ts';
import { startProxy } from '../helpers/proxy.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';

const perl = findProgram('perl', ['/usr/bin']);
const notify = findProgram('systemd-notify', ['/usr/bin', '/bin']);
const missing = [perl === null ? 'perl' : '', notify === null ? 'systemd-notify' : ''].filter((name) => name !== '');

const document = {
  listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
  pools: { web: { endpoints: [{ address: '127.0.0.1:9' }] } },
};

describe.skipIf(missing.length > 0)(`systemd is told (skipped without ${missing.join(', ') || 'nothing'})`, () => {
  it('of readiness, signs of life, reloads, an upgrade with the new main process, and the end', async () => {
    await using directory = await temporaryDirectory('notify');
    const path = join(directory.path, 'notify.sock');
    await using heard = await listenToDatagrams(perl!, path);
    await using proxy = await startProxy(document, { env: { NOTIFY_SOCKET: path, WATCHDOG_USEC: '2000000' } });
    const words = (text: string) => heard.all.filter((one) => one.split('\n').includes(text));
    const first = await eventually(() => words('READY=1')[0] ?? null, { timeoutMs: 10_000 });
    expect(first.split('\n')).toEqual(['READY=1', `MAINPID=${proxy.pid}`, 'STATUS=serving']);
    await eventually(() => words('WATCHDOG=1').length > 0, { timeoutMs: 10_000 });
    await proxy.reload();
    await eventually(() => words('READY=1').length === 2, { timeoutMs: 10_000 });
    const usec = Number(/MONOTONIC_USEC=(\d+)/.exec(words('RELOADING=1')[0])?.[1]);
    expect(usec / 1e6).toBeCloseTo(Number(process.hrtime.bigint() / 1_000_000_000n), -2);
    const pid = await proxy.upgrade();
    await eventually(() => words(`MAINPID=${pid}`).length === 1, { timeoutMs: 10_000 });
    await proxy.stop();
    await eventually(() => words('STOPPING=1').length > 0);
    // Only the process that serves says that the service ends.
    expect(words('STOPPING=1').length).toBe(1);
    expect(heard.all.at(-1)).toContain('STOPPING=1');
  }, 60_000);

  it('of nothing else once it ends: a reload that is refused because of that makes nothing ready again', async () => {
    await using directory = await temporaryDirectory('notify');
    const path = join(directory.path, 'notify.sock');
    await using heard = await listenToDatagrams(perl!, path);
    await using proxy = await startProxy(
      { ...document, runtime: { announce: '2s' } },
      { env: { NOTIFY_SOCKET: path } },
    );
    await eventually(() => heard.all.length === 1, { timeoutMs: 10_000 });
    proxy.child.kill('SIGTERM');
    await eventually(() => proxy.events('draining').length === 1);
    proxy.child.kill('SIGHUP');
    await eventually(() => proxy.events('reload-refused').length === 1);
    expect((await proxy.child.exited).code).toBe(0);
    await eventually(() => heard.all.length >= 2);
    expect(heard.all.slice(1).map((text) => text.split('\n')[0])).toEqual(['STOPPING=1']);
  }, 60_000);
});

it('a process that is no service starts no helpers, and one whose systemd cannot be told says so once and runs on', async () => {
  await using proxy = await startProxy(document, { env: { NOTIFY_SOCKET: '/nowhere/notify.sock', PATH: '/nowhere' } });
  await proxy.reload();
  await eventually(
    () => proxy.events('systemd cannot be told of this process; is systemd-notify installed?').length === 1,
  );
  expect((await fetch(`${proxy.admin}/readyz`)).status).toBe(200);
});
