import type { RequestSample } from '../telemetry/request-sampler.ts';

/** Some 300 KiB. */
const KEPT = 1000;

/** The last sampled requests of all workers, oldest first. On main. */
export class RequestWindow {
  #samples: RequestSample[] = [];

  add(samples: readonly RequestSample[]): void {
    this.#samples.push(...samples);
    if (this.#samples.length > 2 * KEPT) this.#samples = this.#samples.slice(-KEPT);
  }

  get samples(): readonly RequestSample[] {
    return this.#samples.slice(-KEPT);
  }
}
