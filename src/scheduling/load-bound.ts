import type { Endpoint } from '../endpoint/endpoint.ts';
import type { EndpointSet } from '../endpoint/endpoint-set.ts';

/** Endpoints whose load is added up per pick, on average. The sum is old by so few picks that it is off by 1/16 request an endpoint and worker. */
const LOOKS_PER_PICK = 16;

/**
 * Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, arXiv 1608.01350): no endpoint has more than `factor` times its share of
 * the requests in flight, rounded up, over all workers. The hash scheduler calls `begin` before each pick, then `hasRoom`.
 */
export class LoadBound {
  readonly #factor: number;
  #members: readonly Endpoint[] = [];
  #totalWeight = 0;
  #sumEvery = 1;
  #picks = 0;
  /** What an endpoint may have per unit of weight. */
  #perWeight = 0;

  constructor(factor: number) {
    this.#factor = factor;
  }

  update(set: EndpointSet): void {
    this.#members = set.available.filter((endpoint) => endpoint.effectiveWeight > 0);
    this.#totalWeight = this.#members.reduce((sum, endpoint) => sum + endpoint.effectiveWeight, 0);
    this.#sumEvery = Math.max(1, Math.floor(this.#members.length / LOOKS_PER_PICK));
    this.#picks = 0;
  }

  begin(): void {
    if (this.#picks-- > 0) return;
    this.#picks = this.#sumEvery - 1;
    let total = 0;
    for (let i = 0; i < this.#members.length; i++) total += this.#members[i].active;
    this.#perWeight = (this.#factor * (total + 1)) / this.#totalWeight;
  }

  hasRoom(endpoint: Endpoint): boolean {
    return endpoint.active < Math.ceil(this.#perWeight * endpoint.effectiveWeight);
  }
}
