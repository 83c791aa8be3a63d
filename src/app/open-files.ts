import { readFileSync } from 'node:fs';

/** What is assumed where the limit cannot be read. */
const ASSUMED = 10_240;
/** Descriptors that are not connections: registries, files, listening sockets, the runtime's own. */
const OWN = 200;

/** Connections the process may hold when the document says `auto`: each takes two descriptors, the client's and the endpoint's. */
export function connectionCeiling(openFiles = openFilesAllowed()): number {
  return Math.max(64, Math.floor((openFiles - OWN) / 2));
}

/** The soft limit of open files; Node raises it to the hard one at its start. */
function openFilesAllowed(): number {
  try {
    const match = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
    return match === null || match[1] === 'unlimited' ? 1_000_000 : Number(match[1]);
  } catch {
    return ASSUMED;
  }
}
