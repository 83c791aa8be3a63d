import { Endpoint, type EndpointSpec } from '../../src/endpoint/endpoint.ts';
import type { EndpointSet } from '../../src/endpoint/endpoint-set.ts';
import { CHUNK_SLOTS, SlotChunk, SlotTable } from '../../src/endpoint/slots.ts';

/** Makes endpoints over real slots, as main and workers do: 127.0.0.1:10001, 10002, … */
export class EndpointFactory {
  readonly table: SlotTable;
  readonly #row: number;
  #next = 0;

  constructor(rows = 2, row = 1) {
    this.table = new SlotTable(rows);
    this.#row = row;
  }

  make(spec: Partial<EndpointSpec> = {}): Endpoint {
    const slot = this.#next++;
    if (slot % CHUNK_SLOTS === 0) this.table.adopt(new SlotChunk(this.table.rows).buffer);
    this.table.chunkOf(slot).clear(slot % CHUNK_SLOTS);
    return this.view(slot, spec, this.#row);
  }

  /** An endpoint's slot as the thread of another row sees it. */
  view(slot: number, spec: Partial<EndpointSpec>, row: number): Endpoint {
    const whole: EndpointSpec = {
      host: '127.0.0.1',
      port: 10_001 + slot,
      weight: 1,
      zone: '',
      backup: false,
      version: '',
      tags: [],
      metadata: {},
      ...spec,
    };
    return new Endpoint(slot, whole, this.table, row);
  }

  /** One endpoint per weight. */
  weighted(weights: readonly number[]): Endpoint[] {
    return weights.map((weight) => this.make({ weight }));
  }

  many(count: number): Endpoint[] {
    return Array.from({ length: count }, () => this.make());
  }
}

/** A set as a pool would hand it out. */
export function setOf(all: readonly Endpoint[], available: readonly Endpoint[] = all, version = 1): EndpointSet {
  return { version, all, available };
}
