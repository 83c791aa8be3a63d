import type { ApiParts } from './agent-services-api.ts';
import { Answer } from './answer.ts';
import type { ApiCall } from './api-call.ts';
import { ApiError } from './api-error.ts';
import { NODE_MAINTENANCE, SERF_HEALTH, SERVICE_MAINTENANCE_PREFIX, type ServiceRecord } from './records.ts';
import type { Router } from './router.ts';
import { agentHealthCheckView, agentServiceView, byId, healthChecks } from './views.ts';

/** From best to worst. */
const STATUSES = ['passing', 'warning', 'critical', 'maintenance'] as const;
const HTTP_STATUS = { passing: 200, warning: 429, critical: 503, maintenance: 503 } as const;

type Aggregate = (typeof STATUSES)[number];

/** `/v1/agent/health/service/…`: an answer whose status code is the service's health, for dumb balancers. */
export function serveAgentHealth(router: Router, { agents }: ApiParts): void {
  router.get('/v1/agent/health/service/name/', (call) => {
    const name = call.rest;
    if (name === '') throw new ApiError(500, 'Bad request: Missing service Name');
    const services = byId(agents.nodeOf(call)?.services ?? new Map<string, ServiceRecord>());
    const views = services.filter((service) => service.spec.name === name).map(healthOf);
    if (views.length === 0) return answer(call, 404, `ServiceName ${name} Not Found`, []);
    const worst = views.reduce<Aggregate>((so, { AggregatedStatus }) => worse(so, AggregatedStatus), 'passing');
    answer(call, HTTP_STATUS[worst], worst, views);
  });

  router.get('/v1/agent/health/service/id/', (call) => {
    const id = call.rest;
    if (id === '') throw new ApiError(500, 'Bad request: Missing serviceID');
    const service = agents.service(call, id);
    if (service === null) {
      const nothing = { AggregatedStatus: 'critical', Service: null, Checks: null };
      return answer(call, 404, `ServiceId ${id} not found`, nothing);
    }
    const view = healthOf(service);
    answer(call, HTTP_STATUS[view.AggregatedStatus], view.AggregatedStatus, view);
  });
}

function answer(call: ApiCall, status: number, reason: string, view: unknown): void {
  // A reason holds a name that a client chose: what a header cannot hold is left out.
  const headers = ['X-Consul-Reason', reason.replaceAll(/[^\x20-\x7e]/g, '?')];
  if (call.query.get('format') !== 'text') return call.json(new Answer(view, call.flag('pretty')), status, headers);
  if (status === 404) return call.json(new Answer(reason, call.flag('pretty')), status, headers);
  call.text(status, reason, headers, 'text/plain');
}

function healthOf(service: ServiceRecord) {
  const checks = healthChecks(service).filter((check) => check.spec.id !== SERF_HEALTH);
  return {
    AggregatedStatus: checks.reduce<Aggregate>(
      (so, check) => worse(so, statusOf(check.spec.id, check.status)),
      'passing',
    ),
    Service: agentServiceView(service),
    Checks: checks.map(agentHealthCheckView),
  };
}

function statusOf(checkId: string, status: string): Aggregate {
  if (checkId === NODE_MAINTENANCE || checkId.startsWith(SERVICE_MAINTENANCE_PREFIX)) return 'maintenance';
  return status === 'passing' || status === 'warning' ? status : 'critical';
}

function worse(a: Aggregate, b: Aggregate): Aggregate {
  return STATUSES.indexOf(a) > STATUSES.indexOf(b) ? a : b;
}
