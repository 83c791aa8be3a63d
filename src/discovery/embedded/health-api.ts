import { type ApiParts, parseBool } from './agent-services-api.ts';
import type { ApiCall } from './api-call.ts';
import { ApiError } from './api-error.ts';
import { compileFilter, type Predicate, shapes } from './filter.ts';
import type { CheckRecord, ServiceRecord } from './records.ts';
import type { Router } from './router.ts';
import { topicOf } from './topics.ts';
import { byId, checkView, healthChecks, healthView, inOrder } from './views.ts';

/** `/v1/health/*`. */
export function serveHealth(router: Router, { state, blocking }: ApiParts): void {
  const instances = (name: string) => inOrder(state.services.get(name) ?? []);
  const place = (check: CheckRecord) => `${check.node.name}\0${check.spec.id}`;
  const always = () => true;

  router.get('/v1/health/service/', (call) => {
    const name = required(call, 'service name');
    const fits = serviceSelection(call);
    const passing = readPassing(call);
    const keep = compileFilter(call.query.get('filter'), shapes.health);
    blocking.answer(call, {
      topic: topicOf.service(name),
      index: () => state.serviceIndex(name),
      exists: () => state.services.has(name),
      render: () => {
        const chosen = instances(name).filter((service) => fits(service) && (!passing || isPassing(service)));
        return kept(chosen.map(healthView), keep);
      },
    });
  });

  router.get('/v1/health/checks/', (call) => {
    const name = required(call, 'service name');
    const fits = serviceSelection(call);
    const keep = compileFilter(call.query.get('filter'), shapes.check);
    blocking.answer(call, {
      topic: topicOf.service(name),
      index: () => state.serviceIndex(name),
      exists: () => state.services.has(name),
      render: () => {
        const checks = instances(name)
          .filter(fits)
          .flatMap((service) => [...service.checks.values()])
          .sort((a, b) => (place(a) < place(b) ? -1 : 1));
        return kept(checks.map(checkView), keep);
      },
    });
  });

  router.get('/v1/health/node/', (call) => {
    const name = required(call, 'node name');
    const keep = compileFilter(call.query.get('filter'), shapes.check);
    blocking.answer(call, {
      topic: topicOf.node(name),
      index: () => state.nodeIndex(name),
      exists: () => state.nodes.has(name),
      render: () => kept(byId(state.nodes.get(name)?.checks ?? new Map<string, CheckRecord>()).map(checkView), keep),
    });
  });

  router.get('/v1/health/state/', (call) => {
    const wanted = required(call, 'check state');
    const fits = nodeMeta(call);
    const keep = compileFilter(call.query.get('filter'), shapes.check);
    blocking.answer(call, {
      topic: topicOf.checks,
      index: () => state.topics.indexOf(topicOf.checks),
      exists: always,
      render: () => {
        const checks = byId(state.nodes)
          .filter((node) => fits(node.meta))
          .flatMap((node) => byId(node.checks));
        const chosen = wanted === 'any' ? checks : checks.filter((check) => check.status === wanted);
        return kept(chosen.map(checkView), keep);
      },
    });
  });
}

/** The rest of the path, which must not be empty. */
export function required(call: ApiCall, what: string): string {
  if (call.rest === '') throw new ApiError(400, `Missing ${what}`);
  return call.rest;
}

export function kept<T>(views: T[], keep: Predicate | null): T[] {
  return keep === null ? views : views.filter(keep);
}

/** `tag` (all of them, in any case) and `node-meta`. */
export function serviceSelection(call: ApiCall): (service: ServiceRecord) => boolean {
  const tags = call.query
    .getAll('tag')
    .filter((tag) => tag !== '')
    .map((tag) => tag.toLowerCase());
  const fits = nodeMeta(call);
  return (service) => {
    if (!fits(service.node.meta)) return false;
    if (tags.length === 0) return true;
    const own = new Set(service.spec.tags.map((tag) => tag.toLowerCase()));
    return tags.every((tag) => own.has(tag));
  };
}

/** `node-meta=key:value`, all of them. */
export function nodeMeta(call: ApiCall): (meta: Readonly<Record<string, string>> | null) => boolean {
  const pairs = call.query.getAll('node-meta').map((pair) => {
    const colon = pair.indexOf(':');
    return colon === -1 ? ([pair, ''] as const) : ([pair.slice(0, colon), pair.slice(colon + 1)] as const);
  });
  return (meta) => pairs.every(([key, value]) => meta !== null && Object.hasOwn(meta, key) && meta[key] === value);
}

function isPassing(service: ServiceRecord): boolean {
  return healthChecks(service).every((check) => check.status === 'passing');
}

function readPassing(call: ApiCall): boolean {
  if (!call.flag('passing')) return false;
  const text = call.query.get('passing') ?? '';
  const value = text === '' ? true : parseBool(text);
  if (value === null) throw new ApiError(400, 'Invalid value for ?passing');
  return value;
}
