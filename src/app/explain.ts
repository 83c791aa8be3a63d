import type { Explained, Question } from '../admin/control.ts';
import { parseHostPort } from '../base/literals.ts';
import type { ListenerOptions } from '../listener/options.ts';
import { ExplainedRequest } from '../proxy/http1/explained-request.ts';
import type { PoolSet } from './pool-set.ts';

/** Says where a request would go and why. On main, on behalf of the admin API; changes nothing. */
export function explain(
  { method, url, headers, client, listener: wanted }: Question,
  listeners: readonly ListenerOptions[],
  pools: PoolSet,
): Explained {
  const parsed = parse(url);
  if (parsed === null) return { fault: `${url} is not a URL; write it as http://shop.example.com/orders/1` };
  const listener = listenerFor(listeners, parsed.port, wanted);
  if (listener === null) return { fault: `there is no HTTP listener ${wanted ?? `on port ${parsed.port}`}` };
  const { host, target } = parsed;
  try {
    const request = new ExplainedRequest({ method, host, target, headers, client: client ?? '' });
    const { route, refusal, others } = request.routeOf(listener.routes, listener.paths);
    const found = route === null ? null : pools.explain(route.pool, (on) => request.hash(on));
    return {
      request: { method, url, client: client ?? null },
      listener: listener.name,
      route: route === null ? null : { name: route.name, middleware: route.middleware.map(({ kind }) => kind) },
      refusal,
      others,
      pool: found,
    };
  } catch (error) {
    return { fault: (error as Error).message };
  }
}

function parse(url: string): { host: string; target: string; port: number } | null {
  // The URL class would resolve dot segments and escapes, which is what a client may not do for an attacker.
  const match = /^(https?):\/\/([^/?#\s]+)([^#\s]*)$/i.exec(url);
  if (match === null) return null;
  const [, scheme, host, rest] = match;
  const port = parseHostPort(host)?.port ?? (scheme.toLowerCase() === 'https' ? 443 : 80);
  return { host, port, target: rest.startsWith('/') ? rest : `/${rest}` };
}

/** The one that is named, else the one on the URL's port, else the first. */
function listenerFor(
  listeners: readonly ListenerOptions[],
  port: number,
  name: string | undefined,
): ListenerOptions | null {
  const http = listeners.filter(({ protocol }) => protocol === 'http');
  if (name !== undefined) return http.find((listener) => listener.name === name) ?? null;
  return http.find(({ bind }) => bind.some((one) => parseHostPort(one)?.port === port)) ?? http[0] ?? null;
}
