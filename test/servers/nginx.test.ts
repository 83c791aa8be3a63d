import { describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { requireServer } from '../helpers/require-server.ts';
import { findNginx, startNginx } from './nginx.ts';

/** The endpoint the stories rely on does what they take for granted. */
describe.skipIf(requireServer('nginx', findNginx()))('an nginx endpoint', () => {
  const get = (port: number, path = '/', init: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, { ...init, headers: { connection: 'close' } });

  it('answers its name and tells what it was asked', async () => {
    await using endpoint = await startNginx({ name: 'green' });
    const answer = await get(endpoint.port, '/orders?id=1');
    expect(await answer.text()).toBe('green');
    expect(answer.headers.get('x-endpoint')).toBe('green');
    await get(endpoint.port, '/orders', { method: 'POST', body: 'x'.repeat(100_000) });
    await eventually(async () => (await endpoint.requests()).length === 2);
    expect(await endpoint.requests()).toEqual(['GET /orders?id=1 200', 'POST /orders 200']);
  });

  it('holds its answers back', async () => {
    await using endpoint = await startNginx({ name: 'slow', delayMs: 200 });
    const startedMs = performance.now();
    const answer = await get(endpoint.port);
    expect(performance.now() - startedMs).toBeGreaterThan(190);
    expect({ status: answer.status, body: await answer.text() }).toEqual({ status: 200, body: 'slow' });
  });

  it('serves locations of the test', async () => {
    const locations = 'location /missing { return 404 gone; } location = /healthz { return 204; }';
    await using endpoint = await startNginx({ name: 'a', locations });
    expect((await get(endpoint.port, '/missing')).status).toBe(404);
    expect((await get(endpoint.port, '/healthz')).status).toBe(204);
  });

  it('refuses connections once it was killed, and can come back on the same port', async () => {
    await using first = await startNginx({ name: 'a' });
    first.kill('SIGKILL');
    await eventually(() =>
      get(first.port).then(
        () => false,
        () => true,
      ),
    );
    await using second = await startNginx({ name: 'b', port: first.port });
    expect(await (await get(second.port)).text()).toBe('b');
  });

  it('stalls and goes on, and can be stopped while it stalls', async () => {
    await using endpoint = await startNginx({ name: 'a' });
    endpoint.kill('SIGSTOP');
    await expect(get(endpoint.port, '/', { signal: AbortSignal.timeout(200) })).rejects.toThrow();
    endpoint.kill('SIGCONT');
    expect((await get(endpoint.port)).status).toBe(200);
    endpoint.kill('SIGSTOP');
    await endpoint.stop();
    await expect(get(endpoint.port)).rejects.toThrow();
  });

  it('says what nginx has against its configuration', async () => {
    await expect(startNginx({ name: 'a', locations: 'no_such_directive;' })).rejects.toThrow(/no_such_directive/);
  });
});
