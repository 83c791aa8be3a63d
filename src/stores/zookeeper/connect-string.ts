import { formatHostPort, parseHostPort } from '../../base/literals.ts';

export interface ConnectString {
  readonly servers: readonly { readonly host: string; readonly port: number }[];
  /** Under which all paths lie: `/` is written '', everything else begins with a slash and ends without. */
  readonly chroot: string;
}

const DEFAULT_PORT = 2181;

/** `zk1:2181,zk2:2181,[::1]:2181/chroot`, as all of ZooKeeper's clients write it; null when it is none. The port is 2181 where none is given. */
export function parseConnectString(text: string): ConnectString | null {
  const slash = text.indexOf('/');
  const chroot = slash === -1 ? '' : text.slice(slash).replace(/\/+$/, '');
  if (/\/(\/|\.{1,2}(\/|$))/.test(chroot)) return null;
  const servers = (slash === -1 ? text : text.slice(0, slash)).split(',').map((part) => {
    const address = part.trim();
    return parseHostPort(address) ?? parseHostPort(`${address}:${DEFAULT_PORT}`);
  });
  if (servers.some((server) => server === null || server.port === 0)) return null;
  return { servers: servers as ConnectString['servers'], chroot };
}

export function formatServers({ servers }: ConnectString): string {
  return servers.map(({ host, port }) => formatHostPort(host, port)).join(', ');
}
