import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { Clock } from '../base/clock.ts';
import { EndpointSeries } from './endpoint-series.ts';
import type { EventCounts } from './event-counts.ts';
import type { LiveState } from './live-state.ts';
import { endpointFamilies, smallFamilies } from './metric-families.ts';
import { ProcessMetrics } from './process-metrics.ts';
import { renderInSlices } from './slices.ts';

const compress = promisify(gzip);

/** How long an exposition serves further scrapes. */
const CACHE_MS = 1000;

/** What a scrape is answered with. */
export interface Exposition {
  readonly contentType: string;
  readonly text: Buffer;
  /** Compressed once, however many ask. */
  gzip(): Promise<Buffer>;
}

export interface MetricsOptions {
  /** Asked anew for every exposition. */
  readonly state: () => LiveState;
  readonly counts: EventCounts;
  /** Endpoints with series of their own. */
  readonly endpointSeries: number;
  readonly clock: Clock;
}

/**
 * Renders `/metrics`, straight from the shared cells. Our families are written here and not through prom-client's metric objects: those
 * want every value copied into an object with a labels object (27 000 of them for 1 000 endpoints) and format them in one go, which
 * holds main for a quarter of a second. prom-client contributes the process's own metrics. Works in slices, never on a worker.
 */
export class Metrics {
  readonly #state: () => LiveState;
  readonly #counts: EventCounts;
  readonly #clock: Clock;
  readonly #series: EndpointSeries;
  readonly #process = new ProcessMetrics();
  #cached: Exposition | null = null;
  #cachedAtMs = Number.NEGATIVE_INFINITY;
  #rendering: Promise<Exposition> | null = null;

  constructor(options: MetricsOptions) {
    this.#state = options.state;
    this.#counts = options.counts;
    this.#clock = options.clock;
    this.#series = new EndpointSeries(options.endpointSeries);
  }

  /** The exposition, at most a second old. Scrapes that come while one is rendered share it. */
  async exposition(): Promise<Exposition> {
    if (this.#cached !== null && this.#clock.now() - this.#cachedAtMs < CACHE_MS) return this.#cached;
    this.#rendering ??= this.#renderAndKeep().finally(() => {
      this.#rendering = null;
    });
    return this.#rendering;
  }

  async #renderAndKeep(): Promise<Exposition> {
    const text = await this.#render();
    let compressed: Promise<Buffer> | null = null;
    this.#cached = {
      contentType: this.#process.contentType,
      text,
      gzip: () => {
        compressed ??= compress(text, { level: 1 });
        return compressed;
      },
    };
    this.#cachedAtMs = this.#clock.now();
    return this.#cached;
  }

  async #render(): Promise<Buffer> {
    const state = this.#state();
    this.#forgetGoneEndpoints(state);
    const ours = await renderInSlices(this.#parts(state));
    return Buffer.concat([ours, Buffer.from(await this.#process.text())]);
  }

  *#parts(state: LiveState): Generator<string> {
    yield* smallFamilies(state, this.#counts);
    const updating = this.#series.update(state.pools);
    let step = updating.next();
    for (; !step.done; step = updating.next()) yield '';
    yield* endpointFamilies(step.value, this.#series);
  }

  #forgetGoneEndpoints(state: LiveState): void {
    if (!this.#counts.isFull) return;
    const ids = new Map(state.pools.map((p) => [p.name, new Set(p.endpoints.map(({ endpoint }) => endpoint.id))]));
    this.#counts.forgetGone((pool, endpoint) => ids.get(pool)?.has(endpoint) === true);
  }
}
