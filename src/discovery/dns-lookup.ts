import { isIP } from 'node:net';
import type { Answer, SrvAnswer } from 'dns-packet';
import type { DnsAnswer, DnsClient } from './dns-client.ts';
import type { RegistryEndpoint } from './registry.ts';

/** Aliases behind one another; more is a loop. */
const MAX_ALIASES = 8;
/** Targets of one service whose addresses are asked for at once. */
const AT_ONCE = 8;
/** A record of weight 0 "should have a very small chance" beside others (RFC 2782); 0 would be none. */
const RARELY = 0.01;

export type DnsFamily = 'both' | 'ipv4' | 'ipv6';

/** What a service is in DNS: SRV records of a name, or the addresses of a name with a port that the document tells. */
export type DnsService =
  | { readonly kind: 'srv'; readonly name: string }
  | { readonly kind: 'address'; readonly name: string; readonly port: number };

export interface DnsFound {
  readonly endpoints: readonly RegistryEndpoint[];
  /** The name does not exist, or has no such records. */
  readonly isNothing: boolean;
  /** How long the answer may be used: the least of all records it was made of, in s; null where none told. */
  readonly ttlS: number | null;
}

/** `_http._tcp.example.com`: SRV. `example.com:8080`: addresses. Null when it is neither. */
export function parseDnsService(text: string): DnsService | null {
  const match = /^([a-z0-9_]([a-z0-9_.-]{0,251}))(?::(\d{1,5}))?$/i.exec(text);
  if (match === null || isIP(match[1]) !== 0) return null;
  if (match[3] === undefined) return { kind: 'srv', name: match[1] };
  const port = Number(match[3]);
  return port >= 1 && port <= 65_535 ? { kind: 'address', name: match[1], port } : null;
}

/** Addresses a name had when it was last asked for: what a name whose server fails is believed to have still. */
type Known = Map<string, readonly string[]>;

/** Turns DNS answers into endpoints. One for each service that is watched, since it remembers what its names had. */
export class DnsLookup {
  readonly #client: DnsClient;
  readonly #service: DnsService;
  readonly #families: readonly ('A' | 'AAAA')[];
  #known: Known = new Map();
  #ttlS: number | null = null;

  constructor(client: DnsClient, service: DnsService, family: DnsFamily) {
    this.#client = client;
    this.#service = service;
    this.#families = family === 'both' ? ['A', 'AAAA'] : family === 'ipv4' ? ['A'] : ['AAAA'];
  }

  /** Asks for all of it. Rejects with an OperationError when that cannot be had whole; what was known then still holds. */
  async find(): Promise<DnsFound> {
    this.#ttlS = null;
    const known: Known = new Map();
    const service = this.#service;
    const endpoints =
      service.kind === 'srv'
        ? await this.#srv(service.name, known)
        : (await this.#addresses(service.name, null, known)).map((host) =>
            toEndpoint(host, service.port, service.name),
          );
    this.#known = known;
    return { endpoints, isNothing: endpoints.length === 0, ttlS: this.#ttlS };
  }

  async #srv(name: string, known: Known): Promise<RegistryEndpoint[]> {
    const answer = await this.#follow(name, 'SRV');
    // A single target "." says that the service is decidedly not there (RFC 2782).
    const records = answer.records.flatMap((one) => (one.type === 'SRV' && one.data.target !== '.' ? [one] : []));
    this.#limit([...records]);
    const targets = [...new Set(records.map(({ data }) => data.target.toLowerCase()))];
    const addresses = new Map<string, readonly string[]>();
    for (let i = 0; i < targets.length; i += AT_ONCE)
      await Promise.all(
        targets
          .slice(i, i + AT_ONCE)
          .map(async (target) => addresses.set(target, await this.#addresses(target, answer.additionals, known))),
      );
    const first = Math.min(...records.map(({ data }) => data.priority ?? 0));
    return records.flatMap((record) => {
      const { target, port, priority = 0 } = record.data;
      const peers = records.filter((one) => (one.data.priority ?? 0) === priority);
      const more = { weight: weightOf(record, peers), backup: priority !== first };
      return addresses.get(target.toLowerCase())!.map((host) => ({ ...toEndpoint(host, port, target), ...more }));
    });
  }

  /** The addresses of a name: of a target, from what came `along` with its service where that tells. */
  async #addresses(name: string, along: readonly Answer[] | null, known: Known): Promise<string[]> {
    const isTarget = along !== null;
    const told = (along ?? []).filter(
      (one) => isAddress(one) && one.name.toLowerCase() === name && this.#families.includes(one.type),
    );
    this.#limit(told);
    let found = told.flatMap((one) => (isAddress(one) ? one.data : []));
    if (found.length === 0) {
      const outcomes = await Promise.allSettled(this.#families.map((family) => this.#follow(name, family)));
      found = outcomes.flatMap((outcome, i) => this.#settled(outcome, `${name} ${this.#families[i]}`));
      const failed = outcomes.find(({ status }) => status === 'rejected');
      // A server that fails for one family is no reason to do without the other; one that fails for a target, to do without the service.
      const isLost = found.length === 0 || (!isTarget && outcomes.every(({ status }) => status === 'rejected'));
      if (isLost && failed?.status === 'rejected') throw failed.reason;
    }
    for (const family of this.#families)
      known.set(
        `${name} ${family}`,
        found.filter((host) => isIP(host) === (family === 'A' ? 4 : 6)),
      );
    return [...new Set(found)];
  }

  #settled(outcome: PromiseSettledResult<Followed>, key: string): readonly string[] {
    if (outcome.status === 'rejected') return this.#known.get(key) ?? [];
    return outcome.value.records.flatMap((one) => (isAddress(one) ? one.data : []));
  }

  /** The records of a name, behind its aliases; these are followed by further questions where a server leaves that to us. */
  async #follow(name: string, type: 'A' | 'AAAA' | 'SRV'): Promise<Followed> {
    let current = name.replace(/\.$/, '').toLowerCase();
    for (let asked = 0; asked <= MAX_ALIASES; asked++) {
      const answer = await this.#client.query(current, type);
      let aliases = 0;
      for (let next = this.#aliasOf(current, answer); next !== null && aliases < MAX_ALIASES; aliases++) {
        current = next;
        next = this.#aliasOf(current, answer);
      }
      const records = answer.answers.filter((one) => one.type === type && one.name.toLowerCase() === current);
      if (records.length === 0) this.#limitNothing(answer);
      if (records.length > 0 || aliases === 0 || answer.noName) {
        this.#limit(records);
        return { records, additionals: answer.additionals };
      }
    }
    return { records: [], additionals: [] };
  }

  #aliasOf(name: string, { answers }: DnsAnswer): string | null {
    const alias = answers.find((one) => one.type === 'CNAME' && one.name.toLowerCase() === name);
    if (alias?.type !== 'CNAME') return null;
    this.#limit([alias]);
    return alias.data.toLowerCase();
  }

  #limit(records: readonly Answer[]): void {
    for (const record of records)
      if ('ttl' in record && record.ttl !== undefined) this.#ttlS = Math.min(this.#ttlS ?? record.ttl, record.ttl);
  }

  /** That there is nothing holds as long as the zone's SOA record says (RFC 2308 §5). */
  #limitNothing({ authorities }: DnsAnswer): void {
    for (const one of authorities) {
      if (one.type !== 'SOA') continue;
      const ttl = Math.min(one.ttl ?? 0, one.data.minimum ?? 0);
      this.#ttlS = Math.min(this.#ttlS ?? ttl, ttl);
    }
  }
}

interface Followed {
  readonly records: readonly Answer[];
  readonly additionals: readonly Answer[];
}

type AddressAnswer = Extract<Answer, { data: string }> & { readonly type: 'A' | 'AAAA' };

function isAddress(answer: Answer): answer is AddressAnswer {
  return answer.type === 'A' || answer.type === 'AAAA';
}

/** Where all records of one priority have the weight 0 there is nothing to choose by. */
function weightOf({ data }: SrvAnswer, peers: readonly SrvAnswer[]): number {
  if (peers.every((peer) => (peer.data.weight ?? 0) === 0)) return 1;
  return data.weight || RARELY;
}

function toEndpoint(host: string, port: number, name: string): RegistryEndpoint {
  return {
    host,
    port,
    weight: 1,
    zone: '',
    version: '',
    backup: false,
    status: 'up',
    tags: [],
    // Whose certificate is expected.
    metadata: { name: name.replace(/\.$/, '').toLowerCase() },
    generation: '',
  };
}
