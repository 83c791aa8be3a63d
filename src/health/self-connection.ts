import type { Socket } from 'node:net';

/** A dial to a closed port of this machine can be given that very port as its own; TCP's simultaneous open then connects it to itself. */
export function isConnectedToItself(socket: Socket): boolean {
  return socket.localPort === socket.remotePort && socket.localAddress === socket.remoteAddress;
}
