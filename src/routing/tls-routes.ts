import type { RouteMatch } from './options.ts';

/**
 * Finds the route of a TCP connection by what a TLS client says first. Built per listener and document; asked once per connection. Order: exact name,
 * then the longest `*.suffix`, then routes that name none; within a name the document's order, those with `alpn` first.
 */
export class TlsRoutes {
  /** Whether a route asks for it; otherwise the first bytes are nobody's business. */
  readonly readsHello: boolean;
  /** Every protocol that a route names, in the document's order. */
  readonly protocols: readonly string[];
  /** By name, `.suffix` for a wildcard, '' for none. */
  readonly #byName = new Map<string, { readonly index: number; readonly alpn: readonly string[] | null }[]>();

  constructor(matches: readonly Pick<RouteMatch, 'sni' | 'alpn'>[]) {
    this.readsHello = matches.some(({ sni, alpn }) => sni !== null || alpn !== null);
    this.protocols = [...new Set(matches.flatMap(({ alpn }) => alpn ?? []))];
    matches.forEach(({ sni, alpn }, index) => {
      for (const name of sni ?? ['']) this.#add(name.replace(/^\*/, ''), { index, alpn });
    });
    for (const entries of this.#byName.values())
      entries.sort((a, b) => Number(a.alpn === null) - Number(b.alpn === null));
  }

  #add(key: string, entry: { index: number; alpn: readonly string[] | null }): void {
    const entries = this.#byName.get(key);
    if (entries === undefined) this.#byName.set(key, [entry]);
    else entries.push(entry);
  }

  /** Index of the route; -1 when none fits. `serverName` in lower case, '' for none or no TLS at all. */
  find(serverName: string, protocols: readonly string[]): number {
    let key = serverName;
    for (;;) {
      for (const { index, alpn } of this.#byName.get(key) ?? [])
        if (alpn === null || alpn.some((one) => protocols.includes(one))) return index;
      if (key === '') return -1;
      const dot = key.indexOf('.', 1);
      key = dot < 0 ? '' : key.slice(dot);
    }
  }
}
