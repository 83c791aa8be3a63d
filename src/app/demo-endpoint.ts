import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import Consul from 'consul';

// Entry of one sample endpoint of the demo: an ordinary Node service that registers itself with the `consul` package, sends heartbeats, and
// leaves the registry when it is told to end. Arguments: name, registry port, mean service time in ms.
const [name, registryPort, meanMs] = process.argv.slice(2);
const HEARTBEAT_MS = 2000;
const consul = new Consul({ host: '127.0.0.1', port: Number(registryPort) });

const server = createServer((request, response) => {
  // Exponential service times: what a queue in front of a database looks like from outside.
  const delayMs = -Number(meanMs) * Math.log(1 - Math.random());
  setTimeout(() => answer(request.url ?? '/', response), delayMs);
});

function answer(path: string, response: ServerResponse): void {
  response.setHeader('content-type', 'text/plain');
  response.end(`hello from ${name}: ${path}\n`);
}

server.listen(0, '127.0.0.1', async () => {
  const { port } = server.address() as AddressInfo;
  await consul.agent.service.register({
    name: 'hello',
    id: name,
    address: '127.0.0.1',
    port,
    check: { name: 'heartbeat', ttl: '6s', status: 'passing', deregistercriticalserviceafter: '60s' },
  } as never);
  process.send?.({ port });
  const beat = () => consul.agent.check.pass(`service:${name}`).catch(() => {});
  const heartbeat = setInterval(beat, HEARTBEAT_MS);
  const leave = async () => {
    clearInterval(heartbeat);
    await consul.agent.service.deregister(name).catch(() => {});
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  };
  process.on('SIGTERM', leave);
  // Ctrl-C reaches the whole process group: the demo ends us in its own order.
  process.on('SIGINT', () => {});
  process.on('disconnect', leave);
});
