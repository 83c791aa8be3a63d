// `idle-clients.ts PORT COUNT PATH`: opens COUNT connections, sends one request on each, keeps them all open and says `open COUNT`. Ends when it is told.
import { connect } from 'node:net';

const [port, count] = process.argv.slice(2, 4).map(Number);
const request = `GET ${process.argv[4]} HTTP/1.1\r\nHost: bench.example.com\r\n\r\n`;
/** Connections that are being opened at once. */
const AT_ONCE = 64;

let answered = 0;
async function openOne(): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(request));
    socket.once('data', () => (answered++, resolve()));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed')));
  });
}

let left = count;
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    while (left-- > 0) await openOne();
  }),
);
process.stdout.write(`open ${answered}\n`);
