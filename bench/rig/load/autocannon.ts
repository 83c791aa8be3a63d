import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runPinned } from './run-pinned.ts';
import type { LoadGenerator, LoadOptions, LoadResult } from './shape.ts';

/** autocannon, which comes with npm: enough to see that everything works, too slow itself to drive the fast proxies to their limit. */
export const autocannon: LoadGenerator = {
  name: 'autocannon',
  cannot: ({ chunked }) => (chunked ? 'autocannon sends no chunked bodies; install wrk' : null),
  run: runAutocannon,
};

async function runAutocannon(options: LoadOptions): Promise<LoadResult> {
  const { port, secure, connections, seconds, shape, directory } = options;
  const program = new URL('../../../node_modules/autocannon/autocannon.js', import.meta.url).pathname;
  const command = [process.execPath, program, '--json', '-n', '-c', String(connections), '-d', String(seconds)];
  for (const [name, value] of shape.headers) command.push('-H', `${name}=${value}`);
  if (shape.bodyBytes > 0) {
    const body = join(directory, 'body');
    await writeFile(body, Buffer.alloc(shape.bodyBytes, 'x'));
    command.push('-m', 'POST', '-i', body);
  }
  command.push(`${secure ? 'https' : 'http'}://127.0.0.1:${port}${shape.path}`);
  const result = JSON.parse(await runPinned(command, seconds));
  return {
    requests: result.requests.total,
    errors: result.errors + result.non2xx,
    seconds: result.duration,
    p50Ms: result.latency.p50,
    p99Ms: result.latency.p99,
  };
}
