import { createHash } from 'node:crypto';
import { isIPv4 } from 'node:net';
import type { ApiCall } from './api-call.ts';
import type { CheckRecord, NodeRecord, ServiceRecord } from './records.ts';
import type { NodeSpec, RegistryState } from './registry-state.ts';

/** Addresses whose node is remembered. */
const MAX_KNOWN = 10_000;

/**
 * Whom a request to `/v1/agent` speaks for. Consul's clients talk to the agent on their own machine; here all talk to one server, so each
 * address that calls is given an agent of its own, a node named after it (`10-0-0-5`). Then `Service.Address || Node.Address` stays right for
 * every client. All of loopback is one.
 */
export class Agents {
  readonly #state: RegistryState;
  /** By the address that called: making one costs a hash. */
  readonly #specs = new Map<string, NodeSpec>();

  constructor(state: RegistryState) {
    this.#state = state;
  }

  /** The node a call would register on; it need not exist yet. */
  specOf(call: ApiCall): NodeSpec {
    const known = this.#specs.get(call.peer);
    if (known !== undefined) return known;
    if (this.#specs.size >= MAX_KNOWN) this.#specs.clear();
    const spec = registrantNode(call.peer);
    this.#specs.set(call.peer, spec);
    return spec;
  }

  nodeOf(call: ApiCall): NodeRecord | null {
    return this.#state.nodes.get(this.specOf(call).name) ?? null;
  }

  /**
   * The service with this ID of the caller's own node; else the only one in the registry, since a machine of several addresses does not
   * always call from the same.
   */
  service(call: ApiCall, id: string): ServiceRecord | null {
    return this.#own(call, (node) => node.services.get(id));
  }

  check(call: ApiCall, id: string): CheckRecord | null {
    return this.#own(call, (node) => node.checks.get(id));
  }

  #own<T>(call: ApiCall, find: (node: NodeRecord) => T | undefined): T | null {
    const node = this.nodeOf(call);
    const own = node === null ? undefined : find(node);
    if (own !== undefined) return own;
    let only: T | null = null;
    for (const other of this.#state.nodes.values()) {
      const found = other.ofRegistrant ? find(other) : undefined;
      if (found === undefined) continue;
      if (only !== null) return null;
      only = found;
    }
    return only;
  }
}

export function isLoopback(address: string): boolean {
  return address === '::1' || (isIPv4(address) && address.startsWith('127.'));
}

function registrantNode(peer: string): NodeSpec {
  const address = isLoopback(peer) ? '127.0.0.1' : peer;
  const family = isIPv4(address) ? 'ipv4' : 'ipv6';
  const name = address.replaceAll(/[.:%]+/g, '-').replaceAll(/^-|-$/g, '');
  return {
    name,
    id: uuidOf(name),
    address,
    taggedAddresses: { lan: address, [`lan_${family}`]: address, wan: address, [`wan_${family}`]: address },
    meta: { 'consul-network-segment': '' },
    ofRegistrant: true,
  };
}

/** The same for the same name, over restarts too. */
function uuidOf(name: string): string {
  const hex = createHash('sha256').update(name).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
}
