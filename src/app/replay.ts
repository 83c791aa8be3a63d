import type { Replay, ReplayGroup } from '../admin/config-acts.ts';
import type { ListenerOptions } from '../listener/options.ts';
import { METHOD_LABELS } from '../routing/route-cells.ts';
import { RouteTable } from '../routing/route-table.ts';
import type { RequestSample } from '../telemetry/request-sampler.ts';
import type { DocumentOptions } from './document.ts';

const OTHER_METHOD = METHOD_LABELS.length - 1;

/** Where a request would go. `route` '' and `fails` null: nobody can say, for a route asks for something that was not kept. */
interface Fate {
  readonly route: string;
  readonly pool: string;
  readonly fails: string | null;
}

/** Sends sampled requests through the routes of a document that is not in force. `isEmpty`: whether a pool of that document would have no endpoints. */
export function replay(
  samples: readonly RequestSample[],
  { listeners }: Pick<DocumentOptions, 'listeners'>,
  isEmpty: (pool: string) => boolean,
): Replay {
  const routers = new Map(listeners.map((listener) => [listener.name, new Router(listener)]));
  const moved = new Map<string, ReplayGroup>();
  const failing = new Map<string, ReplayGroup>();
  let unknown = 0;
  for (const sample of samples) {
    const fate = routers.get(sample.listener)?.fate(sample, isEmpty) ?? gone(sample);
    const from = sample.route === '' ? 'no route' : `${sample.route} → ${sample.pool}`;
    if (fate.fails === null && fate.route === '') unknown++;
    // What failed before for the same reason is no news.
    else if (fate.fails !== null && sample.route !== '') count(failing, from, fate.fails, sample);
    else if (fate.fails === null && (fate.route !== sample.route || fate.pool !== sample.pool))
      count(moved, from, `${fate.route} → ${fate.pool}`, sample);
  }
  return { sampled: samples.length, moved: [...moved.values()], failing: [...failing.values()], unknown };
}

function gone({ listener }: RequestSample): Fate {
  return { route: '', pool: '', fails: `there is no listener ${listener} any more` };
}

function count(groups: Map<string, ReplayGroup>, from: string, to: string, sample: RequestSample): void {
  const key = `${sample.listener}\0${from}\0${to}`;
  const known = groups.get(key);
  const example = known?.example ?? `${sample.method} ${sample.host}${sample.path}`;
  groups.set(key, { listener: sample.listener, from, to, requests: (known?.requests ?? 0) + 1, example });
}

/** The routes of one listener, asked with texts. */
class Router {
  readonly #table: RouteTable;

  constructor({ routes, paths }: ListenerOptions) {
    this.#table = new RouteTable(routes, () => 0, paths);
  }

  fate({ method, host, path, headers, query }: RequestSample, isEmpty: (pool: string) => boolean): Fate {
    let isUnknown = false;
    const kept = (values: Readonly<Record<string, string | null>>, name: string) => {
      if (!Object.hasOwn(values, name)) isUnknown = true;
      return values[name] ?? null;
    };
    const bytes = Buffer.from(host + path, 'latin1');
    const known = (METHOD_LABELS as readonly string[]).indexOf(method);
    const route = this.#table.match(
      bytes,
      0,
      host.length,
      host.length,
      bytes.length,
      known < 0 ? OTHER_METHOD : known,
      { header: (name) => kept(headers, name), queryValue: (name) => kept(query, name) },
    );
    if (isUnknown) return { route: '', pool: '', fails: null };
    if (route === null) return { route: '', pool: '', fails: 'no route' };
    const fails = isEmpty(route.poolName) ? `pool ${route.poolName} has no endpoints` : null;
    return { route: route.name, pool: route.poolName, fails };
  }
}
