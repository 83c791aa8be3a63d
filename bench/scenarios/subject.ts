import type { Running } from '../rig/running.ts';
import type { PoolSetting } from './scenario.ts';

export interface RunningSubject {
  readonly process: Running;
  readonly port: number;
  /** The joining endpoints are in the pool from now on. */
  readonly join: () => Promise<void>;
}

/** A proxy with one algorithm. One worker, keep-alive on both sides; a request may be tried on two other endpoints; no answer within 2 s is a failure. */
export interface Subject {
  readonly name: string;
  /** `nginx`, `haproxy` or `evenkeel`. */
  readonly proxy: string;
  /** Which targets hold for it. */
  readonly judged: 'plain' | 'hedged' | null;
  readonly version: () => string;
  /** Why it cannot take part, or null. */
  readonly missing: () => string | null;
  /** `directory` is its own. */
  readonly start: (directory: string, setting: PoolSetting) => Promise<RunningSubject>;
}
