import { createServer, type Socket } from 'node:net';

// A TCP endpoint in a process of its own, as services run: `tcp-endpoint-program.ts NAME PORT REGISTRY`. Registers itself as `orders` and says its port.
// Answers what a client says with its name. At SIGTERM it leaves the registry, serves whoever still comes, and ends when nobody has come for a while.
const [name, wantedPort, registry] = process.argv.slice(2);
/** Longer than a change of the registry takes to reach who reads it. */
const QUIET_MS = 500;

const open = new Set<Socket>();
let lastMs = 0;
const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  lastMs = performance.now();
  open.add(socket);
  socket.on('error', () => {});
  socket.on('close', () => open.delete(socket));
  socket.on('end', () => socket.end());
  socket.on('data', () => socket.write(name));
});

async function tell(path: string, body?: object): Promise<void> {
  const init = { method: 'PUT', ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
  const { ok, status } = await fetch(`${registry}/v1/agent/service/${path}`, init);
  if (!ok) throw new Error(`${path}: ${status}`);
}

server.listen(Number(wantedPort), '127.0.0.1', 511, async () => {
  const { port } = server.address() as { port: number };
  const id = `orders-${port}`;
  process.once('SIGTERM', async () => {
    await tell(`deregister/${id}`);
    lastMs = performance.now();
    setInterval(() => {
      if (open.size === 0 && performance.now() - lastMs > QUIET_MS) process.exit(0);
    }, 20);
  });
  await tell('register', { ID: id, Name: 'orders', Address: '127.0.0.1', Port: port });
  process.stdout.write(`${name} listens on ${port}\n`);
});
