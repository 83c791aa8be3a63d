import type { Kind } from '../base/catalog.ts';
import type { Registry, RegistryContext } from '../discovery/registry.ts';
import type { Probe } from '../health/probe.ts';
import type { ProbeContext } from '../health/probe-context.ts';
import type { Scheduler, SchedulerContext } from '../scheduling/scheduler.ts';
import type { Logger } from '../telemetry/log.ts';

/** A part by the word or path of its kind, with its options, or by the kind itself: an object as a part's file exports it. */
export type PartSettings<Part, Context> =
  | string
  | { readonly kind: string | Kind<Part, Context>; readonly [option: string]: unknown }
  | Kind<Part, Context>;

/** An entry of `pools`: the keys of a document's. Judged at run time, with the same messages. */
export interface PoolSettings {
  readonly discover?: { readonly registry: string; readonly service: string; readonly [key: string]: unknown };
  readonly endpoints?: readonly {
    readonly address: string;
    readonly weight?: number;
    readonly [key: string]: unknown;
  }[];
  readonly scheduler?: PartSettings<Scheduler, SchedulerContext>;
  readonly probe?: PartSettings<Probe, ProbeContext>;
  readonly ejection?: object | 'off';
  readonly retry?: object | 'off';
  readonly timeouts?: object;
  readonly limits?: object;
  readonly host?: 'keep' | 'endpoint';
  readonly [key: string]: unknown;
}

/** What a balancer is made of: the `registries` and `pools` of a document. Durations and sizes as there: `250ms`, `64KiB`. */
export interface BalancerOptions {
  readonly registries?: Readonly<Record<string, PartSettings<Registry, RegistryContext>>>;
  readonly pools: Readonly<Record<string, PoolSettings>>;
  readonly runtime?: { readonly startTimeout?: string; readonly state?: string; readonly [key: string]: unknown };
}

/** How a balancer lives in its host. */
export interface BalancerContext {
  /** Hears what the balancer would log; default: nobody, as the events tell the same. */
  readonly log?: Logger;
  /** Relative paths in the options count from here; default: the working directory. A file's count from its own. */
  readonly directory?: string;
}
