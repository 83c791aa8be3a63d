import { pbkdf2Sync } from 'node:crypto';
import type { Server, Socket } from 'node:net';
import { getHeapStatistics } from 'node:v8';
import { parentPort } from 'node:worker_threads';
import { systemClock } from '../base/clock.ts';
import { systemRandom } from '../base/random.ts';
import { DataPlane } from './data-plane.ts';
import { handOver, lend, share, takeOver } from './hand-over.ts';
import { Heartbeats } from './heartbeats.ts';
import type { Configuration, FromWorker, ToWorker, WorkerStart } from './messages.ts';
import { hasNewParts, importParts } from './user-parts.ts';

// Entry of a data-plane thread: connects a DataPlane to main's port and does nothing else. Until it is told to start it is a spare.
const port = parentPort!;
let plane: DataPlane;

function memoryBytes(): number {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return heap + external;
}

function start({ worker, workers, row, rows, heartbeats, chunks, affinityKey }: WorkerStart): void {
  plane = new DataPlane({
    worker,
    workers,
    row,
    rows,
    clock: systemClock,
    random: systemRandom,
    heartbeats: new Heartbeats(rows, heartbeats, memoryBytes),
    chunks,
    affinityKey,
    post: (message: FromWorker) => port.postMessage(message),
  });
}

/** What came while parts of users were being imported: it may build on the document that names them. */
let held: ToWorker[] | null = null;

/** What listening servers accepted that are held: they accept from the moment they are here. */
const early = new Map<Server, Socket[]>();

function receive(message: ToWorker): void {
  if (held === null) return take(message);
  held.push(message);
  if (message.kind === 'client') hold(message.socket);
  if (message.kind !== 'adopt') return;
  const accepted: Socket[] = [];
  early.set(message.server, accepted);
  message.server.on('connection', (client) => accepted.push(hold(client)));
}

/** One that leaves meanwhile is no fault of the thread's. */
function hold(client: Socket): Socket {
  client.allowHalfOpen = true;
  return client.on('error', () => {});
}

function adopt({ listener, bind, server }: Extract<ToWorker, { kind: 'adopt' }>): void {
  const accepted = early.get(server) ?? [];
  early.delete(server);
  plane.streams.adopt(listener, bind, server);
  for (const client of accepted) if (!client.destroyed) plane.streams.accept(listener, client);
}

port.on('message', receive);

function configure(configuration: Configuration): void {
  const parts = {
    schedulers: configuration.pools.map(({ options }) => options.scheduler),
    middleware: configuration.listeners.flatMap(({ options }) => options.routes.flatMap((route) => route.middleware)),
  };
  if (!hasNewParts(parts)) return plane.configure(configuration);
  held = [];
  // Main has imported them before: one that fails here ends the thread, which is told and replaced.
  importParts(parts).then(() => {
    const waiting = held as ToWorker[];
    held = null;
    plane.configure(configuration);
    waiting.forEach(receive);
  });
}

function take(message: ToWorker): void {
  switch (message.kind) {
    case 'start':
      return start(message.start);
    case 'configure':
      return configure(message.configuration);
    case 'rows':
      return plane.useRows(message.used);
    case 'chunk':
      return plane.adoptChunk(message.buffer);
    case 'delta':
      return plane.applyDelta(message.delta);
    case 'listen':
      return plane.streams.listen(message.listener, message.bind, message.socket);
    case 'listen-udp':
      return plane.datagrams.listen(message.place, message.at.host, message.at.port);
    case 'logged':
      return plane.logged(message.listener, message.length);
    case 'hand-over':
      return handOver(plane, message.port);
    case 'share':
      return share(plane, message.port);
    case 'take-over':
      return takeOver(plane, message.ports, () =>
        port.postMessage({ kind: 'took-over', places: plane.streams.places } satisfies FromWorker),
      );
    case 'lend':
      return lend(plane, port);
    case 'adopt':
      return adopt(message);
    case 'client':
      return plane.streams.accept(message.listener, message.socket);
    case 'end':
      plane.close();
      process.exit(0);
      break;
    case 'drain':
      return plane.drain(message.patienceMs);
    case 'cut':
      return plane.cut();
    case 'die':
      process.exit(70);
      break;
    case 'hang':
      pbkdf2Sync('', '', 2 ** 31 - 1, 64, 'sha512');
      break;
    case 'stall': {
      const until = performance.now() + message.ms;
      while (performance.now() < until);
      break;
    }
  }
}
