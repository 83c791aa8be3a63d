import { ApiError } from './api-error.ts';
import type { Fields } from './json-fields.ts';
import type { CheckPlan, CheckSpec } from './records.ts';

/** Consul runs nothing more often; shorter intervals are raised to it. */
export const MIN_CHECK_INTERVAL_MS = 1000;
export const MAX_CHECK_OUTPUT = 4096;
const DEFAULT_TIMEOUT_MS = 10_000;
const MAX_TIMER_MS = 2 ** 31;

/** Fields of Consul's check definition that mean nothing here. */
const IGNORED = [
  'Shell',
  'GRPCUseTLS',
  'ProxyHTTP',
  'ProxyGRPC',
  'FailuresBeforeWarning',
  'TLSServerName',
  'DisableRedirects',
  'TCPUseTLS',
  'H2PingUseTLS',
  'AliasNode',
  'Namespace',
  'Partition',
  'PeerName',
  'ServiceID',
  'ID',
  'CheckID',
  'Name',
  'Notes',
  'Status',
];
const NOT_RUN = ['GRPC', 'UDP', 'H2PING', 'OSService', 'AliasService'];
const STATUSES = new Set(['passing', 'warning', 'critical']);

/**
 * The check within a service's registration. `ordinal` counts all checks of the request from 1 and names those without an ID when there
 * are several (0 when there is one only). Null for Consul's empty check (`"Check": {}`), which stands for none.
 */
export function decodeServiceCheck(
  fields: Fields,
  service: { id: string; name: string },
  ordinal: number,
): { spec: CheckSpec; unknown: string[] } | null {
  const plan = decodePlan(fields);
  const id = fields.string('CheckID') || fields.string('ID');
  const name = fields.string('Name');
  const status = fields.string('Status');
  const notes = fields.string('Notes');
  const unknown = fields.rest(IGNORED);
  if (plan === null && ordinal === 0 && id === '' && name === '' && status === '' && notes === '') return null;
  const checked = validated(plan);
  if (status !== '' && !STATUSES.has(status))
    throw new ApiError(400, "Status for checks must 'passing', 'warning', 'critical'");
  const spec: CheckSpec = {
    id: id || (ordinal === 0 ? `service:${service.id}` : `service:${service.id}:${ordinal}`),
    name: name || `Service '${service.name}' check`,
    notes,
    status: status || 'critical',
    output: '',
    serviceId: service.id,
    type: checked.kind,
    definition: {},
    plan: checked,
  };
  return { spec, unknown };
}

/** The body of `PUT /v1/agent/check/register`. */
export function decodeAgentCheck(fields: Fields): { spec: CheckSpec; unknown: string[] } {
  const name = fields.string('Name');
  if (name === '') throw new ApiError(400, 'Missing check name');
  const status = fields.string('Status');
  if (status !== '' && !STATUSES.has(status)) throw new ApiError(400, 'Bad check status');
  const plan = validated(decodePlan(fields));
  const spec: CheckSpec = {
    id: fields.string('CheckID') || fields.string('ID') || name,
    name,
    notes: fields.string('Notes'),
    status: status || 'critical',
    output: '',
    serviceId: fields.string('ServiceID'),
    type: plan.kind,
    definition: {},
    plan,
  };
  return { spec, unknown: fields.rest(IGNORED) };
}

/** A check of `PUT /v1/catalog/register`: its status is whatever it says, and nobody runs it. */
export function decodeCatalogCheck(fields: Fields): CheckSpec {
  const raw = fields.raw('Definition') ?? {};
  if (typeof raw !== 'object' || Array.isArray(raw))
    throw new ApiError(400, 'Request decode failed: Definition must be an object');
  const definition = raw as Record<string, unknown>;
  const name = fields.string('Name');
  const http = typeof definition.HTTP === 'string' && definition.HTTP !== '';
  const tcp = typeof definition.TCP === 'string' && definition.TCP !== '';
  return {
    id: fields.string('CheckID') || name,
    name,
    notes: fields.string('Notes'),
    status: fields.string('Status') || 'critical',
    output: fields.string('Output'),
    serviceId: fields.string('ServiceID'),
    type: fields.string('Type') || (http ? 'http' : tcp ? 'tcp' : ''),
    definition,
    plan: null,
  };
}

/** What the fields ask to be run; null when they ask for nothing. */
function decodePlan(fields: Fields): CheckPlan | null {
  const scripts = [...fields.strings('Args'), ...fields.strings('ScriptArgs'), fields.string('DockerContainerID')];
  if (scripts.some((word) => word !== '')) {
    throw new ApiError(
      500,
      "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
    );
  }
  for (const kind of NOT_RUN) {
    if (fields.string(kind) !== '')
      throw new ApiError(400, `Invalid check: this registry runs TTL, HTTP and TCP checks, no ${kind} checks`);
  }
  const http = fields.string('HTTP');
  const tcp = fields.string('TCP');
  const ttlMs = fields.durationMs('TTL');
  const intervalMs = fields.durationMs('Interval');
  const outputMax = fields.integer('OutputMaxSize');
  const plan: CheckPlan = {
    kind: http !== '' ? 'http' : tcp !== '' ? 'tcp' : 'ttl',
    ttlMs,
    intervalMs,
    timeoutMs: fields.durationMs('Timeout') || DEFAULT_TIMEOUT_MS,
    target: http || tcp,
    method: fields.string('Method').toUpperCase() || 'GET',
    header: decodeHeader(fields),
    body: fields.string('Body'),
    tlsSkipVerify: fields.boolean('TLSSkipVerify'),
    successBeforePassing: fields.integer('SuccessBeforePassing'),
    failuresBeforeCritical: fields.integer('FailuresBeforeCritical'),
    deregisterAfterMs: fields.durationMs('DeregisterCriticalServiceAfter'),
    outputMax: outputMax > 0 && outputMax < MAX_CHECK_OUTPUT ? outputMax : MAX_CHECK_OUTPUT,
  };
  return plan.target === '' && ttlMs === 0 && intervalMs === 0 ? null : plan;
}

function decodeHeader(fields: Fields): Record<string, string[]> {
  const raw = fields.raw('Header');
  if (raw === null) return {};
  const wrong = new ApiError(400, 'Request decode failed: Header must be an object of lists of strings');
  if (typeof raw !== 'object' || Array.isArray(raw)) throw wrong;
  for (const values of Object.values(raw)) {
    if (!Array.isArray(values) || !values.every((value) => typeof value === 'string')) throw wrong;
  }
  return raw as Record<string, string[]>;
}

function validated(plan: CheckPlan | null): CheckPlan {
  const invalid = (what: string) => new ApiError(400, `Invalid check: ${what}`);
  if (plan === null) throw invalid('TTL must be > 0 for TTL checks');
  if (plan.intervalMs > 0 && plan.ttlMs > 0) throw invalid('Interval and TTL cannot both be specified');
  if (plan.kind === 'ttl') {
    if (plan.ttlMs <= 0) throw invalid('TTL must be > 0 for TTL checks');
    if (plan.ttlMs > MAX_TIMER_MS) throw invalid('TTL must be at most 596h');
    return plan;
  }
  if (plan.intervalMs <= 0) throw invalid('Interval must be > 0 for Script, HTTP, or TCP checks');
  const intervalMs = Math.min(Math.max(plan.intervalMs, MIN_CHECK_INTERVAL_MS), MAX_TIMER_MS);
  return { ...plan, intervalMs, timeoutMs: Math.min(plan.timeoutMs, 60_000) };
}
