import { get } from 'node:http';
import { WebSocket } from 'ws';
import { startLoad } from '../helpers/load.ts';
import { OpenLoop } from '../helpers/open-loop.ts';
import { tlsClient } from '../helpers/tls-client.ts';
import { byteAt } from './origin.ts';
import { type ChaosClient, Tally } from './tally.ts';

const ECHO_EVERY_MS = 50;
/** A WebSocket lives so long before its client opens another: threads that have retired wait for it. */
const SOCKET_LIFE_MS = 4000;
const ECHO_TIMEOUT_MS = 10_000;

/** Keep-alive connections that ask as soon as they are answered; over TLS when `ca` is given. */
export function closedLoop(
  port: number,
  connections: number,
  { ca, reconnects = true }: { ca?: string; reconnects?: boolean } = {},
): ChaosClient {
  const tally = new Tally(`keep-alive, closed loop${ca === undefined ? '' : ', TLS'}`);
  const connect = ca === undefined ? undefined : () => tlsClient(port, { ca, servername: 'localhost' });
  const load = startLoad(port, { connections, pauseMs: 2, reconnects, connect });
  return {
    tally,
    async stop() {
      await load.stop();
      tally.answered = load.statuses.get(200) ?? 0;
      tally.begun = load.answered + load.lost.length + load.refused;
      for (const [status, count] of load.statuses) if (status !== 200) tally.lost.set(`status ${status}`, count);
      for (const line of load.lost) tally.lose(line);
      if (load.refused > 0) tally.lost.set('connection refused', load.refused);
    },
  };
}

/** Requests at a fixed rate, whether or not others are answered; `isShort`: each on a connection of its own. */
export function openLoop(port: number, rate: number, seconds: number, isShort: boolean): ChaosClient {
  const tally = new Tally(isShort ? 'short connections, open loop' : 'keep-alive, open loop');
  const loop = new OpenLoop(`http://127.0.0.1:${port}/`, rate, rate * seconds * 4, { connectionEach: isShort });
  return {
    tally,
    async stop() {
      const { sent, ok, failures } = await loop.stop();
      tally.begun = sent;
      tally.answered = ok;
      for (const [what, count] of Object.entries(failures)) tally.lost.set(what, count);
    },
  };
}

/** WebSockets that send numbered messages and want each back, in order; a connection that ends before its client ends it is lost. */
export function webSockets(port: number, count: number): ChaosClient {
  const tally = new Tally('WebSocket messages');
  let isStopping = false;
  const run = async () => {
    while (!isStopping) await echo(port, tally, () => isStopping);
  };
  const running = Promise.all(Array.from({ length: count }, run));
  return {
    tally,
    async stop() {
      isStopping = true;
      await running;
    },
  };
}

function echo(port: number, tally: Tally, isStopping: () => boolean): Promise<void> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/echo`, { perMessageDeflate: false });
  const endMs = performance.now() + SOCKET_LIFE_MS;
  return new Promise((resolve) => {
    let sent = 0;
    let back = 0;
    let failure: string | null = null;
    const timeout = setTimeout(() => {
      failure = 'no echo';
      socket.terminate();
    }, SOCKET_LIFE_MS + ECHO_TIMEOUT_MS);
    const next = () => {
      if (performance.now() >= endMs || isStopping()) return socket.close(1000);
      tally.begin();
      socket.send(String(sent++));
    };
    socket.on('open', next);
    socket.on('message', (data) => {
      if (String(data) === String(back)) tally.answer();
      else failure = 'another message';
      back++;
      setTimeout(next, ECHO_EVERY_MS);
    });
    socket.on('error', (error) => {
      failure = (error as NodeJS.ErrnoException).code ?? error.message;
    });
    socket.on('close', (code) => {
      clearTimeout(timeout);
      if (code !== 1000 || failure !== null || back < sent) tally.lose(`closed ${code} ${failure ?? ''}`.trim());
      // One that never opened would be tried again at once.
      setTimeout(resolve, code === 1000 ? 0 : 50);
    });
  });
}

/** Downloads read slowly, one after the other, each byte compared. */
export function downloads(port: number, count: number, bytes: number, seconds: number): ChaosClient {
  const tally = new Tally(`downloads of ${Math.round(bytes / 1024 / 1024)} MiB`);
  let isStopping = false;
  const run = async () => {
    while (!isStopping) {
      tally.begin();
      const failure = await download(port, bytes, (bytes / seconds) * 0.1, () => isStopping);
      if (failure === null) tally.answer();
      else tally.lose(failure);
    }
  };
  const running = Promise.all(Array.from({ length: count }, run));
  return {
    tally,
    async stop() {
      isStopping = true;
      await running;
    },
  };
}

/** Reads at most `perTenth` bytes in a tenth of a second, until it is told to hurry. Resolves with what went wrong, or null. */
function download(port: number, bytes: number, perTenth: number, isHurried: () => boolean): Promise<string | null> {
  return new Promise((resolve) => {
    const request = get({ host: '127.0.0.1', port, path: `/download?bytes=${bytes}`, agent: false });
    request.on('error', (error) => resolve((error as NodeJS.ErrnoException).code ?? error.message));
    request.on('response', (response) => {
      if (response.statusCode !== 200) {
        response.resume();
        return resolve(`status ${response.statusCode}`);
      }
      let offset = 0;
      let allowed = perTenth;
      const timer = setInterval(() => {
        allowed = isHurried() ? Number.POSITIVE_INFINITY : offset + perTenth;
        response.resume();
      }, 100);
      let wrongAt = -1;
      response.on('data', (chunk: Buffer) => {
        if (wrongAt < 0 && (chunk[0] !== byteAt(offset) || chunk.at(-1) !== byteAt(offset + chunk.length - 1)))
          wrongAt = offset;
        offset += chunk.length;
        if (offset >= allowed) response.pause();
      });
      response.on('close', () => {
        clearInterval(timer);
        if (wrongAt >= 0) resolve(`wrong bytes at ${wrongAt}`);
        else resolve(offset === bytes ? null : `ended at ${offset} of ${bytes}`);
      });
    });
  });
}
