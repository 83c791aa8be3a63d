import { createServer } from 'node:http';

// A small HTTP endpoint in a process of its own, to be killed by a test: `endpoint-program.ts NAME PORT`. Says its port when it listens.
const [name, port] = process.argv.slice(2);
const server = createServer((request, response) => {
  request.resume();
  const delayMs = Number(new URL(request.url ?? '/', 'http://x').searchParams.get('delay') ?? 0);
  setTimeout(() => response.end(name), delayMs);
});
server.listen(Number(port), '127.0.0.1', () => {
  process.stdout.write(`${name} listens on ${(server.address() as { port: number }).port}\n`);
});
