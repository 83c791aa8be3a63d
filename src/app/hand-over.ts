import type { Server } from 'node:net';
import type { MessagePort } from 'node:worker_threads';
import type { DataPlane } from './data-plane.ts';
import type { FromWorker } from './messages.ts';

/** Nobody waits for a thread that has a successor: the longer an idle connection is left, the fewer meet a request on its way when they end. */
export const PATIENCE_MS = 4000;

/** What goes over the port: one listening server each, then the word that there are no more. */
type Handed = { readonly listener: string; readonly bind: string; readonly server: Server } | 'all';

/**
 * The old thread's side: gives every listening server away, with the connections that wait in it, and drains. A server that cannot be moved stays
 * and is closed when its queue is quiet.
 */
export function handOver(plane: DataPlane, port: MessagePort): void {
  give(plane, port, plane.streams.letGo());
  plane.drain(PATIENCE_MS);
}

/** The side of a thread that goes on: where it has several listening servers of an address, from threads that left, it gives one to a thread that is new. */
export function share(plane: DataPlane, port: MessagePort): void {
  give(plane, port, plane.streams.letGoSpare());
}

function give(plane: DataPlane, port: MessagePort, servers: ReturnType<DataPlane['streams']['letGo']>): void {
  for (const { listener, bind, server } of servers) {
    try {
      port.postMessage({ listener, bind, server } satisfies Handed, [server as never]);
    } catch {
      plane.streams.adopt(listener, bind, server);
    }
  }
  port.postMessage('all' satisfies Handed);
}

/** Gives every listening server to main, which answers for the connections that wait in it. One that cannot be moved stays. */
export function lend(plane: DataPlane, main: MessagePort): void {
  for (const { listener, bind, server } of plane.streams.letGo()) {
    try {
      main.postMessage({ kind: 'lent', listener, bind, server } satisfies FromWorker, [server as never]);
    } catch {
      plane.streams.adopt(listener, bind, server);
    }
  }
  main.postMessage({ kind: 'lent-all' } satisfies FromWorker);
}

/** The new thread's side: `done` is called once, when everything has come from every port or the thread behind it has ended. */
export function takeOver(plane: DataPlane, ports: readonly MessagePort[], done: () => void): void {
  let owing = ports.length;
  if (owing === 0) return done();
  const onEnd = () => {
    if (--owing === 0) done();
  };
  for (const port of ports) takeFrom(plane, port, onEnd);
}

function takeFrom(plane: DataPlane, port: MessagePort, done: () => void): void {
  let isDone = false;
  const end = () => {
    if (isDone) return;
    isDone = true;
    port.close();
    done();
  };
  // A server accepts from the moment it is here: it needs its listener before this turn of the loop ends.
  port.on('message', (handed: Handed) => {
    if (handed === 'all') end();
    else plane.streams.adopt(handed.listener, handed.bind, handed.server);
  });
  port.on('close', end);
}
