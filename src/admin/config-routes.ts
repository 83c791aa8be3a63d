import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { ConfigError, formatProblem, OperationError } from '../base/errors.ts';
import { sendError } from './api-error.ts';
import type { CentreActs, Signed } from './config-acts.ts';
import type { Control } from './control.ts';

/** A document of 10 000 endpoints takes 1 MiB, and JSON quotes it. */
const BODY_LIMIT = 4 * 1024 * 1024;
const MAX_HISTORY = 500;

const signed = { author: z.string().min(1).max(200).optional(), message: z.string().max(2000).optional() };
const checkBody = z.strictObject({ document: z.string(), against: z.string().optional() });
const pushBody = z.strictObject({ document: z.string(), onto: z.int().min(0).optional(), ...signed });
const rollbackBody = z.strictObject({ version: z.union([z.string(), z.int().transform(String)]), ...signed });
const withdrawBody = z.strictObject(signed);

const STATUS: Readonly<Record<string, number>> = {
  'no-version': 404,
  'no-trial': 409,
  raced: 409,
  staged: 409,
  'no-proxies': 409,
  'too-long': 413,
};

type Query = FastifyRequest<{ Querystring: Record<string, string | undefined> }>;

/** `/api/v1/config…`: judging a document, and the versions of a config centre. */
export function addConfigRoutes(server: FastifyInstance, control: Control): void {
  const { get, post } = routesOf(server, control);
  server.post('/api/v1/config/check', { bodyLimit: BODY_LIMIT }, (request, reply) =>
    answer(reply, async () => {
      const { document, against } = parse(checkBody, request.body);
      return control.judge(document, against ?? null);
    }),
  );
  get('history', async (centre, { query }) => {
    const limit = Math.min(MAX_HISTORY, Math.max(1, Number(query.limit ?? 20) || 20));
    return { versions: await centre.history(limit) };
  });
  get('versions/:version', (centre, { params }) => centre.version((params as { version: string }).version));
  get('diff', async (centre, { query: { from, to = 'head' } }) => {
    if (from === undefined) throw new OperationError('bad-query', 'say what to compare: ?from=3&to=4');
    return { from, to, changes: await centre.diff(from, to) };
  });
  get('status', (centre) => centre.status());
  post('push', async (centre, request) => {
    const { document, onto, ...who } = parse(pushBody, request.body);
    return centre.push(document, signedBy(who, request), onto ?? null);
  });
  post('rollback', async (centre, request) => {
    const { version, ...who } = parse(rollbackBody, request.body);
    return centre.rollback(version, signedBy(who, request));
  });
  post('withdraw', async (centre, request) => {
    const who = parse(withdrawBody, request.body ?? {});
    if (!(await centre.withdraw(signedBy(who, request))))
      throw new OperationError('no-trial', 'no version is on trial');
    return { withdrawn: true };
  });
}

type Act = (centre: CentreActs, request: Query) => Promise<object>;

function routesOf(server: FastifyInstance, control: Control) {
  const handler = (act: Act) => (request: FastifyRequest, reply: FastifyReply) => {
    const { centre } = control;
    if (centre !== null) return answer(reply, () => act(centre, request as Query));
    const message = 'this proxy runs a file: versions are kept where evenkeel runs with the address of a config centre';
    sendError(reply, 409, 'no-centre', message);
    return reply;
  };
  return {
    get: (path: string, act: Act) => server.get(`/api/v1/config/${path}`, handler(act)),
    post: (path: string, act: Act) => server.post(`/api/v1/config/${path}`, { bodyLimit: BODY_LIMIT }, handler(act)),
  };
}

/** Of the body, else of headers, for who sends a body that a tool made. */
function signedBy({ author, message }: Partial<Signed>, { headers }: FastifyRequest): Signed {
  return {
    author: author ?? (String(headers['x-evenkeel-author'] ?? '').slice(0, 200) || 'admin API'),
    message: message ?? String(headers['x-evenkeel-message'] ?? '').slice(0, 2000),
  };
}

function parse<T extends z.ZodType>(schema: T, body: unknown): z.output<T> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const message = parsed.error.issues.map((issue) => [...issue.path, issue.message].join(': ')).join('; ');
  throw new OperationError('bad-body', message);
}

async function answer(reply: FastifyReply, act: () => Promise<object>): Promise<FastifyReply> {
  try {
    return reply.send(await act());
  } catch (error) {
    if (error instanceof ConfigError) {
      const problems = error.problems.map((problem) => ({ ...problem, text: formatProblem(problem) }));
      sendError(reply, 422, 'document-refused', error.message, { problems });
    } else if (error instanceof OperationError) {
      const status = error.code.startsWith('bad-') ? 400 : (STATUS[error.code] ?? 503);
      sendError(reply, status, error.code, error.message);
    } else throw error;
    return reply;
  }
}
