// `held-clients.ts PORT`: a client process that is told on stdin how many connections to hold, `idle N` or `busy N`: an idle one has had one answer, a
// busy one always waits for another. Comes from several addresses. Says `idle N`, `busy N` when so many are there, and `tally ANSWERED FAILED` every second.
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

const port = Number(process.argv[2]);
const REQUEST = Buffer.from('GET /held HTTP/1.1\r\nHost: held\r\n\r\n');
/** Connections that are being opened at once, and addresses they come from. */
const AT_ONCE = 64;
const ADDRESSES = 8;
const counts = { answered: 0, failed: 0 };

function open(index: number, isBusy: boolean): Promise<void> {
  return new Promise((resolve) => {
    const localAddress = `127.0.0.${2 + (index % ADDRESSES)}`;
    const socket = connect({ port, host: '127.0.0.1', localAddress, noDelay: true }, () => socket.write(REQUEST));
    socket.on('data', (bytes) => {
      if (bytes.toString('latin1', 0, 12) === 'HTTP/1.1 200') counts.answered++;
      else counts.failed++;
      if (isBusy) socket.write(REQUEST);
      resolve();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      counts.failed++;
      resolve();
    });
  });
}

createInterface(process.stdin).on('line', async (line) => {
  const [kind, count] = line.split(' ');
  let next = 0;
  const work = async () => {
    while (next < Number(count)) await open(next++, kind === 'busy');
  };
  await Promise.all(Array.from({ length: kind === 'busy' ? Number(count) : AT_ONCE }, work));
  console.log(line);
});
setInterval(() => console.log(`tally ${counts.answered} ${counts.failed}`), 1000);
