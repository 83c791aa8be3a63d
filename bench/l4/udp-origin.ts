// The UDP origin where nginx has no stream module: `udp-origin.ts PORT...`. Sends back what comes.
import { createSocket } from 'node:dgram';

for (const port of process.argv.slice(2).map(Number)) {
  const socket = createSocket('udp4', (bytes, from) => socket.send(bytes, from.port, from.address));
  socket.bind(port, '127.0.0.1', () => process.stdout.write('bound\n'));
}
