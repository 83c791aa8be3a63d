import { isIP, isIPv4 } from 'node:net';

const MAPPED = '::ffff:';

/** An IPv4 address that came over an IPv6 socket, as itself. */
export function plainAddress(address: string): string {
  return address.startsWith(MAPPED) && isIPv4(address.slice(MAPPED.length)) ? address.slice(MAPPED.length) : address;
}

/** The address in one member of X-Forwarded-For: some proxies write a port behind it. '' when there is none that can be read. */
export function hopAddress(text: string): string {
  const hop = text.trim();
  const bare = /^\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?$/.exec(hop)?.[1] ?? /^([\d.]+):\d{1,5}$/.exec(hop)?.[1] ?? hop;
  return isIP(bare) === 0 ? '' : plainAddress(bare);
}

/** The addresses in one line of Forwarded (RFC 7239 §4), '' for a member that names none: `unknown`, `_hidden`, no `for` at all. */
export function forwardedHops(value: string): string[] {
  const members = value.match(/(?:"(?:[^"\\]|\\.)*"|[^,"]|")+/g) ?? [];
  return members.map((member) => {
    const found = [...member.matchAll(/(?:^|;)[ \t]*for=("(?:[^"\\]|\\.)*"|[^;,"\s]*)[ \t]*(?=;|$)/gi)];
    return found.length === 1 ? hopAddress(found[0][1].replace(/^"|"$/g, '')) : '';
  });
}
