import { createServer, type ServerResponse } from 'node:http';
import { expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { freePort } from '../helpers/ports.ts';
import { startProxy } from '../helpers/proxy.ts';

it('a SIGHUP to a process that is succeeded meanwhile reaches the one that serves', { timeout: 60_000 }, async () => {
  const asked: ServerResponse[] = [];
  const registry = createServer((_, response) => {
    asked.push(response);
    // The second to ask is the new process, which has read the document: the sync that it waits for is held up.
    if (asked.length !== 2) response.end('[]');
  });
  const port = await freePort();
  await new Promise<void>((resolve) => registry.listen(port, '127.0.0.1', resolve));
  const document = (scheduler: string) => ({
    registries: { slow: { kind: 'http', url: `http://127.0.0.1:${port}/{service}`, interval: '1h', timeout: '20s' } },
    listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
    pools: { web: { discover: { registry: 'slow', service: 'x' }, scheduler } },
  });
  const proxy = await startProxy(document('random'));
  try {
    const upgrade = proxy.upgrade();
    await eventually(() => asked.length === 2, { timeoutMs: 20_000 });
    await proxy.write(document('first'));
    process.kill(proxy.child.pid, 'SIGHUP');
    asked[1].end('[]');
    const pid = await upgrade;
    await eventually(async () => (await proxy.api('/api/v1/pools/web')).scheduler === 'first', { timeoutMs: 10_000 });
    expect((await proxy.api('/api/v1/status')).program.pid).toBe(pid);
  } finally {
    await proxy.stop();
    registry.closeAllConnections();
    await new Promise((resolve) => registry.close(resolve));
  }
});
