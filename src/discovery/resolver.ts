import { isIP } from 'node:net';
import { cleanSet, endpointId } from './clean-set.ts';
import type { NameResolver } from './name-resolver.ts';
import type { RegistryEndpoint } from './registry.ts';

/**
 * Stands between a source of endpoints (a ServiceFeed, a pool's own list) and its pool: endpoints whose host is a name become one endpoint for every
 * address the name has (in the place of the name), and again when these change; such an endpoint carries the name in its metadata as `name`. Sets without names pass
 * at once. A name that is not resolved yet holds up the others only while nothing else could be told.
 */
export class EndpointResolver {
  readonly #names: NameResolver;
  readonly #onSet: (set: readonly RegistryEndpoint[]) => void;
  readonly #watched = new Map<string, () => void>();
  #before: EndpointResolver | null;
  #set: readonly RegistryEndpoint[] | null = null;

  /**
   * `before` is the one whose place it takes: that goes on, its names resolved, until this one has a set, and ends with it then. Otherwise names that both have
   * would be asked for anew, and endpoints that cannot be had at this moment would be gone.
   */
  constructor(
    names: NameResolver,
    onSet: (set: readonly RegistryEndpoint[]) => void,
    before: EndpointResolver | null = null,
  ) {
    this.#names = names;
    this.#onSet = onSet;
    this.#before = before;
  }

  /** Takes a new set. */
  update(set: readonly RegistryEndpoint[]): void {
    this.#set = set;
    const names = new Set<string>();
    for (const { host } of set) if (isIP(host) === 0) names.add(host);
    for (const name of names)
      if (!this.#watched.has(name))
        this.#watched.set(
          name,
          this.#names.watch(name, () => this.#tell()),
        );
    for (const [name, unwatch] of this.#watched) {
      if (names.has(name)) continue;
      unwatch();
      this.#watched.delete(name);
    }
    this.#endBefore();
    this.#tell();
  }

  close(): void {
    this.#endBefore();
    for (const unwatch of this.#watched.values()) unwatch();
    this.#watched.clear();
    this.#set = null;
  }

  #endBefore(): void {
    this.#before?.close();
    this.#before = null;
  }

  #tell(): void {
    if (this.#set === null) return;
    if (this.#watched.size === 0) return this.#onSet(this.#set);
    let isWaiting = false;
    const resolved: RegistryEndpoint[] = [];
    for (const endpoint of this.#set) {
      if (isIP(endpoint.host) !== 0) {
        resolved.push(endpoint);
        continue;
      }
      const addresses = this.#names.addressesOf(endpoint.host);
      if (addresses === null) isWaiting = true;
      const metadata = { ...endpoint.metadata, name: endpoint.host };
      for (const host of addresses ?? []) resolved.push({ ...endpoint, host, metadata });
    }
    if (isWaiting && resolved.length === 0) return;
    this.#onSet(inOrderOf(resolved, cleanSet(resolved).endpoints));
  }
}

/** The clean set, in the order in which its addresses are told first: some schedulers go by it. */
function inOrderOf(told: readonly RegistryEndpoint[], set: readonly RegistryEndpoint[]): RegistryEndpoint[] {
  const places = new Map<string, number>();
  for (const endpoint of told) {
    const id = endpointId(endpoint).toLowerCase();
    if (!places.has(id)) places.set(id, places.size);
  }
  const placeOf = (endpoint: RegistryEndpoint) => places.get(endpointId(endpoint)) ?? places.size;
  return [...set].sort((a, b) => placeOf(a) - placeOf(b));
}
