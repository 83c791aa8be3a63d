import { systemClock } from '../base/clock.ts';
import type {
  LiveListener,
  LivePool,
  LiveRegistry,
  LiveRoute,
  LiveState,
  LiveWorker,
} from '../telemetry/live-state.ts';
import type { LoadedDocument } from './document.ts';
import type { ListenerSet } from './listener-set.ts';
import type { PoolSet } from './pool-set.ts';
import type { Sources } from './sources.ts';
import type { Workers } from './workers.ts';

export interface RunningParts {
  readonly document: () => LoadedDocument;
  readonly pools: PoolSet;
  readonly listeners: ListenerSet;
  readonly sources: Sources;
  readonly workers: Workers;
}

/** The running program as telemetry and the admin API read it. */
export class RunningState implements LiveState {
  readonly startedAtMs = systemClock.now();
  configVersionNumber = 1;
  /** The listeners have served. */
  wasReady = false;
  #reason = 'starting';
  readonly #parts: RunningParts;

  constructor(parts: RunningParts) {
    this.#parts = parts;
  }

  get ready(): boolean {
    return this.#reason === '';
  }

  get readyReason(): string {
    return this.#reason;
  }

  waitFor(what: string): void {
    this.#reason = `waiting for ${what}`;
  }

  /** The listeners serve. Not ready all the same when draining began meanwhile. */
  becomeReady(): void {
    this.wasReady = true;
    if (!this.#reason.startsWith('draining')) this.#reason = '';
  }

  draining(reason: string): void {
    this.#reason = `draining: ${reason}`;
  }

  /** Another document is in force. */
  accepted(): void {
    this.configVersionNumber++;
  }

  get configVersion(): string {
    return this.#parts.document().version;
  }

  get document(): unknown {
    return this.#parts.document().masked;
  }

  get listeners(): readonly LiveListener[] {
    return this.#parts.listeners.live;
  }

  get routes(): readonly LiveRoute[] {
    return this.#parts.listeners.liveRoutes;
  }

  get pools(): readonly LivePool[] {
    return this.#parts.pools.live((pool) => this.#parts.sources.sourceOf(pool));
  }

  get registries(): readonly LiveRegistry[] {
    return this.#parts.sources.live((pool) => this.#parts.pools.sizeOf(pool));
  }

  get workers(): readonly LiveWorker[] {
    return this.#parts.workers.live();
  }
}
