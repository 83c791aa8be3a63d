import type { ApiParts } from './agent-services-api.ts';
import { Answer } from './answer.ts';
import type { ApiCall } from './api-call.ts';
import { ApiError } from './api-error.ts';
import type { CheckRunner } from './check-runner.ts';
import { decodeAgentCheck, MAX_CHECK_OUTPUT } from './decode-check.ts';
import { compileFilter, shapes } from './filter.ts';
import { type CheckRecord, SERF_HEALTH } from './records.ts';
import type { Router } from './router.ts';
import { agentCheckView, byId } from './views.ts';

const BEATS = { pass: 'passing', warn: 'warning', fail: 'critical' } as const;

/** `/v1/agent/check*`. */
export function serveAgentChecks(router: Router, parts: ApiParts, runner: CheckRunner): void {
  const { state, agents, journal } = parts;

  router.get('/v1/agent/checks', (call) => {
    const keep = compileFilter(call.query.get('filter'), shapes.check);
    const checks = byId(agents.nodeOf(call)?.checks ?? new Map<string, CheckRecord>());
    // The catalog's check of the node is none of its agent's own.
    const own = checks.filter((check) => check.spec.id !== SERF_HEALTH);
    const entries = own.map((check) => [check.spec.id, agentCheckView(check)] as const);
    const kept = keep === null ? entries : entries.filter(([, view]) => keep(view));
    call.json(new Answer(Object.fromEntries(kept), call.flag('pretty')));
  });

  router.put('/v1/agent/check/register', async (call) => {
    const { spec, unknown } = decodeAgentCheck(await call.fields());
    if (unknown.length > 0) parts.unknownFields(unknown);
    const service = spec.serviceId === '' ? null : agents.service(call, spec.serviceId);
    if (service === null && spec.serviceId !== '')
      throw new ApiError(500, `ServiceID ${JSON.stringify(spec.serviceId)} does not exist`);
    state.asOne(() => state.putCheck(service?.node ?? state.putNode(agents.specOf(call)), spec, true));
    await journal.committed();
    call.empty();
  });

  router.put('/v1/agent/check/deregister/', async (call) => {
    state.removeCheck(find(call, call.rest));
    await journal.committed();
    call.empty();
  });

  for (const [word, status] of Object.entries(BEATS)) {
    router.put(`/v1/agent/check/${word}/`, (call) => {
      runner.beat(findTtl(call), status, call.query.get('note') ?? '');
      call.empty();
    });
  }

  router.put('/v1/agent/check/update/', async (call) => {
    const fields = await call.fields();
    const status = fields.string('Status');
    if (!Object.values<string>(BEATS).includes(status)) throw new ApiError(400, `Invalid check status: '${status}'`);
    const output = fields.string('Output');
    runner.beat(findTtl(call), status, output.length > MAX_CHECK_OUTPUT ? output.slice(0, MAX_CHECK_OUTPUT) : output);
    call.empty();
  });

  function find(call: ApiCall, id: string): CheckRecord {
    const check = id === SERF_HEALTH ? null : agents.check(call, id);
    if (check !== null) return check;
    const advice = 'Ensure that the check ID is passed, not the check name.';
    throw new ApiError(404, `Unknown check ID ${JSON.stringify(id)}. ${advice}`);
  }

  function findTtl(call: ApiCall): CheckRecord {
    const check = find(call, call.rest);
    if (check.spec.plan?.kind !== 'ttl')
      throw new ApiError(500, `CheckID ${JSON.stringify(call.rest)} does not have associated TTL`);
    return check;
  }
}
