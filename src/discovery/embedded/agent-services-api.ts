import { createHash } from 'node:crypto';
import type { Agents } from './agents.ts';
import { Answer } from './answer.ts';
import type { ApiCall } from './api-call.ts';
import { ApiError } from './api-error.ts';
import { type BlockingQueries, readWait } from './blocking-queries.ts';
import { decodeAgentService } from './decode-service.ts';
import { compileFilter, shapes } from './filter.ts';
import type { Journal } from './journal.ts';
import { type CheckSpec, NODE_MAINTENANCE, SERVICE_MAINTENANCE_PREFIX } from './records.ts';
import type { RegistryState } from './registry-state.ts';
import type { Router } from './router.ts';
import { topicOf } from './topics.ts';
import { agentServiceView, byId } from './views.ts';

/** What the API's groups are made with. */
export interface ApiParts {
  readonly state: RegistryState;
  readonly agents: Agents;
  readonly blocking: BlockingQueries;
  readonly journal: Journal;
  /** Told of fields in requests that nobody knows here. */
  readonly unknownFields: (fields: readonly string[]) => void;
}

/** `/v1/agent/service*` and maintenance. */
export function serveAgentServices(router: Router, parts: ApiParts): void {
  const { state, agents, journal } = parts;

  router.put('/v1/agent/service/register', async (call) => {
    const decoded = decodeAgentService(await call.fields());
    if (decoded.unknown.length > 0) parts.unknownFields(decoded.unknown);
    state.register(agents.specOf(call), decoded.spec, decoded.checks, isOn(call, 'replace-existing-checks'));
    await journal.committed();
    call.empty();
  });

  router.put('/v1/agent/service/deregister/', async (call) => {
    if (call.rest === '') throw new ApiError(500, 'ServiceID missing');
    const service = agents.service(call, call.rest);
    if (service === null) {
      const advice = 'Ensure that the service ID is passed, not the service name.';
      throw new ApiError(404, `Unknown service ID ${JSON.stringify(call.rest)}. ${advice}`);
    }
    state.removeService(service);
    await journal.committed();
    call.empty();
  });

  router.get('/v1/agent/services', (call) => {
    const keep = compileFilter(call.query.get('filter'), shapes.agentService);
    const services = byId(agents.nodeOf(call)?.services ?? new Map());
    const entries = services.map((service) => [service.spec.id, agentServiceView(service)] as const);
    const kept = keep === null ? entries : entries.filter(([, view]) => keep(view));
    call.json(new Answer(Object.fromEntries(kept), call.flag('pretty')));
  });

  router.get('/v1/agent/service/', (call) => answerService(call, parts));

  router.put('/v1/agent/service/maintenance/', async (call) => {
    if (call.rest === '') throw new ApiError(400, 'Missing service ID');
    const enable = readEnable(call);
    const service = agents.service(call, call.rest);
    if (service === null) throw new ApiError(404, `No service registered with ID ${JSON.stringify(call.rest)}`);
    const id = SERVICE_MAINTENANCE_PREFIX + service.spec.id;
    const present = service.checks.get(id);
    if (enable && present === undefined)
      state.putCheck(service.node, maintenanceCheck(call, id, 'Service', service.spec.id), false);
    if (!enable && present !== undefined) state.removeCheck(present);
    await journal.committed();
    call.empty();
  });

  router.put('/v1/agent/maintenance', async (call) => {
    const enable = readEnable(call);
    if (enable) {
      state.asOne(() => {
        const node = state.putNode(agents.specOf(call));
        if (!node.checks.has(NODE_MAINTENANCE))
          state.putCheck(node, maintenanceCheck(call, NODE_MAINTENANCE, 'Node', ''), false);
      });
    } else {
      const present = agents.nodeOf(call)?.checks.get(NODE_MAINTENANCE);
      if (present !== undefined) state.removeCheck(present);
    }
    await journal.committed();
    call.empty();
  });
}

/** One service with the hash of what it is; `?hash=` waits until it is another. */
function answerService(call: ApiCall, { agents, blocking }: ApiParts): void {
  const id = call.rest;
  const look = () => {
    const service = agents.service(call, id);
    if (service === null) return null;
    const view = agentServiceView(service);
    const hash = createHash('sha256').update(JSON.stringify(view)).digest('hex').slice(0, 16);
    return { node: service.node.name, view, hash };
  };
  const answer = () => {
    const found = look();
    if (found === null) return call.text(404, `unknown service ID: ${id}`);
    const body = new Answer({ ...found.view, ContentHash: found.hash }, call.flag('pretty'));
    call.json(body, 200, ['X-Consul-Contenthash', found.hash]);
  };
  const known = call.query.get('hash') ?? '';
  const waitMs = readWait(call);
  const now = look();
  if (now === null || now.hash !== known) return answer();
  const changed = () => look()?.hash !== known;
  blocking.wait(call, topicOf.node(now.node), waitMs, changed, () => true, answer);
}

function maintenanceCheck(call: ApiCall, id: string, what: 'Service' | 'Node', serviceId: string): CheckSpec {
  const subject = what.toLowerCase();
  const silent = `Maintenance mode is enabled for this ${subject}, but no reason was provided. This is a default message.`;
  return {
    id,
    name: `${what} Maintenance Mode`,
    notes: call.query.get('reason') || silent,
    status: 'critical',
    output: '',
    serviceId,
    type: 'maintenance',
    definition: {},
    plan: null,
  };
}

function readEnable(call: ApiCall): boolean {
  if (!call.flag('enable')) throw new ApiError(400, 'Missing value for enable');
  const text = call.query.get('enable') ?? '';
  const value = parseBool(text);
  if (value === null) throw new ApiError(400, `Invalid value for enable: ${JSON.stringify(text)}`);
  return value;
}

/** Present, and not said to be false. */
function isOn(call: ApiCall, name: string): boolean {
  return call.flag(name) && parseBool(call.query.get(name) ?? '') !== false;
}

/** As Go's strconv.ParseBool; null when it is neither. */
export function parseBool(text: string): boolean | null {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  return /^(0|f|F|FALSE|false|False)$/.test(text) ? false : null;
}
