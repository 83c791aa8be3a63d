import { closeSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** The process before this one gives its successor stdio and the channel between them. */
const GIVEN = 3;
const CLOSE_ON_EXEC = 0o2000000;

/**
 * Closes the sockets that this process has from the one that started it without having been given them; returns how many. A socket that crosses threads
 * comes out of Node as a duplicate without the close-on-exec flag, so that a successor is born with every listening socket of its predecessor's, and with
 * connections that came while one was handed over. Kept open, they would pile up from upgrade to upgrade, a listener that goes would go on to take
 * connections that nobody serves, and a client would not see that its connection was closed. To be called before anything is opened, by a successor only:
 * other parents may have their reasons. Does nothing where there is no /proc (proc(5): `fdinfo`).
 */
export function closeInheritedSockets(): number {
  let closed = 0;
  for (const name of listed()) {
    const descriptor = Number(name);
    if (descriptor <= GIVEN || !isInheritedSocket(name)) continue;
    closeSync(descriptor);
    closed++;
  }
  return closed;
}

function listed(): string[] {
  try {
    return readdirSync('/proc/self/fd');
  } catch {
    return [];
  }
}

function isInheritedSocket(name: string): boolean {
  try {
    if (!readlinkSync(`/proc/self/fd/${name}`).startsWith('socket:')) return false;
    const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${name}`, 'latin1'));
    return flags !== null && (Number.parseInt(flags[1], 8) & CLOSE_ON_EXEC) === 0;
  } catch {
    // That by which the directory was read.
    return false;
  }
}
