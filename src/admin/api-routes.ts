import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Clock } from '../base/clock.ts';
import { formatProblem } from '../base/errors.ts';
import type { EventLog } from '../telemetry/event-log.ts';
import type { LiveEndpoint, LivePool, LiveState } from '../telemetry/live-state.ts';
import type { Metrics } from '../telemetry/prometheus.ts';
import type { RecentTraffic } from '../telemetry/recent-traffic.ts';
import { renderInSlices } from '../telemetry/slices.ts';
import { endpointSnapshot, listenerSnapshot, registrySnapshot, statusSnapshot } from '../telemetry/snapshot.ts';
import { sendError } from './api-error.ts';
import { addConfigRoutes } from './config-routes.ts';
import type { Control } from './control.ts';
import { changeFault, endpointChange } from './endpoint-change.ts';
import type { EventStream } from './event-stream.ts';
import { historyOf, overviewJson } from './overview.ts';
import { type PoolJsonContext, poolItems, poolJson } from './pool-json.ts';

/** What the routes work with. */
export interface ApiContext {
  readonly state: () => LiveState;
  readonly control: Control;
  readonly metrics: Metrics;
  readonly recent: RecentTraffic;
  readonly events: EventLog;
  readonly clock: Clock;
  /** The program's version. */
  readonly version: string;
  readonly stream: EventStream;
  /** Headers of every answer, for those that fastify does not send. */
  readonly headers: Readonly<Record<string, string>>;
}

type PoolRequest = FastifyRequest<{ Params: { pool: string } }>;
type EndpointRequest = FastifyRequest<{ Params: { pool: string; endpoint: string } }>;

/** Adds every route of the contract, and those that the dashboard and `evenkeel top` use. */
export function addApiRoutes(server: FastifyInstance, context: ApiContext): void {
  const { state, clock } = context;
  server.get('/healthz', (_request, reply) => reply.send({ alive: true }));
  server.get('/readyz', (_request, reply) => {
    const { ready, readyReason: reason } = state();
    reply.code(ready ? 200 : 503).send(ready ? { ready } : { ready, reason });
  });
  server.get('/metrics', (request, reply) => sendMetrics(context, request, reply));
  server.get('/api/v1/status', () => ({ ...statusSnapshot(state(), clock.now()), ...program(context) }));
  server.get('/api/v1/pools', (_request, reply) => sendInSlices(poolsJson(context), reply));
  server.get('/api/v1/pools/:pool', (request: PoolRequest, reply) => sendPool(context, request, reply));
  server.patch('/api/v1/pools/:pool/endpoints/:endpoint', (request: EndpointRequest, reply) =>
    changeEndpoint(context, request, reply),
  );
  server.get('/api/v1/explain', (request, reply) => explain(context, request, reply));
  server.get('/api/v1/listeners', () => {
    const { listeners, routes } = state();
    return { listeners: listeners.map((listener) => listenerSnapshot(listener, routes)) };
  });
  server.get('/api/v1/registries', () => ({ registries: state().registries.map(registrySnapshot) }));
  server.get('/api/v1/config', () => {
    const { configVersion: version, configVersionNumber: number, document } = state();
    return { version, number, centre: context.control.centre?.running ?? null, document };
  });
  addConfigRoutes(server, context.control);
  server.post('/api/v1/reload', (_request, reply) => reload(context, reply));
  server.post('/api/v1/workers/restart', async (_request, reply) => {
    const { restarted, message } = await context.control.restartWorkers();
    if (message === null) return { restarted };
    sendError(reply, 409, 'not-restarted', message, { restarted });
    return reply;
  });
  server.post('/api/v1/upgrade', (_request, reply) => upgrade(context, reply));
  server.get('/api/v1/events', (request, reply) => openEvents(context, request, reply));
  server.get('/api/v1/overview', (_request, reply) =>
    sendInSlices(overviewJson(state(), context.recent, clock.now(), program(context)), reply),
  );
  server.get('/api/v1/history', () => historyOf(state(), context.recent));
}

async function sendMetrics(context: ApiContext, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const exposition = await context.metrics.exposition();
  reply.header('content-type', exposition.contentType).header('vary', 'accept-encoding');
  if (!acceptsGzip(request.headers['accept-encoding'])) return reply.send(exposition.text);
  return reply.header('content-encoding', 'gzip').send(await exposition.gzip());
}

function acceptsGzip(header: string | string[] | undefined): boolean {
  return /(?:^|,)\s*(?:x-)?gzip\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[\d.]+\s*)?(?:,|$)/i.test(String(header ?? ''));
}

async function sendInSlices(parts: Iterable<string>, reply: FastifyReply): Promise<FastifyReply> {
  const body = await renderInSlices(parts);
  return reply.type('application/json; charset=utf-8').send(body);
}

function* poolsJson(context: ApiContext): Generator<string> {
  yield '{"pools":[';
  yield* poolItems(context.state().pools, (pool) => pool.endpoints, poolContext(context));
  yield ']}';
}

function poolContext({ state, recent, clock }: ApiContext): PoolJsonContext {
  return { routes: state().routes, recent, nowMs: clock.now() };
}

async function sendPool(context: ApiContext, request: PoolRequest, reply: FastifyReply): Promise<FastifyReply> {
  const pool = findPool(context, request.params.pool);
  if (pool === null) return noPool(reply, request.params.pool);
  return sendInSlices(poolJson(pool, pool.endpoints, poolContext(context)), reply);
}

async function changeEndpoint(
  context: ApiContext,
  request: EndpointRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { pool, endpoint } = request.params;
  const change = endpointChange.safeParse(request.body);
  if (!change.success) {
    sendError(reply, 400, 'bad-body', changeFault(change.error));
    return reply;
  }
  const result = await context.control.setEndpoint(pool, endpoint, change.data);
  if (result === 'no-pool') return noPool(reply, pool);
  const live = findEndpoint(context, pool, endpoint);
  if (result === 'no-endpoint' || live === null) {
    sendError(reply, 404, 'no-endpoint', `pool ${pool} has no endpoint ${endpoint}`);
    return reply;
  }
  return reply.send(endpointSnapshot(live, context.recent, context.clock.now()));
}

const question = z.strictObject({
  method: z
    .string()
    .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'a method is one word')
    .prefault('GET'),
  url: z.string().min(1),
  header: z.union([z.string(), z.array(z.string())]).prefault([]),
  client: z.string().optional(),
  listener: z.string().optional(),
});

function explain(context: ApiContext, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const asked = question.safeParse(request.query);
  if (!asked.success) {
    sendError(
      reply,
      400,
      'bad-question',
      asked.error.issues.map(({ path, message }) => `${path}: ${message}`).join('; '),
    );
    return reply;
  }
  const { header, ...rest } = asked.data;
  const headers = [header].flat().map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
  });
  const result = context.control.explain({ ...rest, headers });
  if (!('fault' in result)) return reply.send(result);
  sendError(reply, 400, 'bad-question', result.fault);
  return reply;
}

async function reload(context: ApiContext, reply: FastifyReply): Promise<FastifyReply> {
  const result = await context.control.reload();
  if (result.accepted) {
    const { version, versionNumber: number, isChanged: changed } = result;
    return reply.send({ version, number, changed });
  }
  const problems = result.problems.map((problem) => ({ ...problem, text: formatProblem(problem) }));
  sendError(reply, 422, 'document-refused', result.message, { problems });
  return reply;
}

async function upgrade(context: ApiContext, reply: FastifyReply): Promise<FastifyReply> {
  const result = await context.control.upgrade();
  if (result.upgraded) return reply.send({ pid: result.pid });
  const problems = result.problems.map((problem) => ({ ...problem, text: formatProblem(problem) }));
  if (problems.length > 0) sendError(reply, 422, 'document-refused', result.message, { problems });
  else sendError(reply, 409, 'not-upgraded', result.message);
  return reply;
}

function openEvents({ stream, events, headers }: ApiContext, request: FastifyRequest, reply: FastifyReply): void {
  if (stream.isFull) {
    sendError(reply, 503, 'limit', 'too many listeners to events');
    return;
  }
  const { last } = request.query as { last?: string };
  const resumed = Number(request.headers['last-event-id'] ?? Number.NaN);
  const wanted = Math.min(1000, Math.max(0, Number(last ?? 0) || 0));
  // A number ahead of ours was given by a process before this one: everything is new to that listener.
  const after = Number.isNaN(resumed) ? events.lastId - wanted : resumed > events.lastId ? 0 : resumed;
  reply.hijack();
  stream.open(reply.raw, headers, after);
}

function program({ version, control }: ApiContext) {
  return { centre: control.centre?.running ?? null, program: { version, node: process.version, pid: process.pid } };
}

function findPool(context: ApiContext, name: string): LivePool | null {
  return context.state().pools.find((pool) => pool.name === name) ?? null;
}

function findEndpoint(context: ApiContext, pool: string, id: string): LiveEndpoint | null {
  return findPool(context, pool)?.endpoints.find(({ endpoint }) => endpoint.id === id) ?? null;
}

function noPool(reply: FastifyReply, name: string): FastifyReply {
  sendError(reply, 404, 'no-pool', `there is no pool ${name}`);
  return reply;
}
