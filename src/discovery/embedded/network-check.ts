import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { parseHostPort } from '../../base/literals.ts';
import type { CheckTargets } from './check-targets.ts';
import type { CheckPlan } from './records.ts';

/** What a run of a check found. */
export interface CheckResult {
  readonly status: 'passing' | 'warning' | 'critical';
  readonly output: string;
}

/** Runs an HTTP or TCP check once, within its timeout and until `signal` says stop. Never rejects: what goes wrong is a critical result. */
export async function runNetworkCheck(
  plan: CheckPlan,
  registrant: string,
  targets: CheckTargets,
  signal: AbortSignal,
): Promise<CheckResult> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(plan.timeoutMs)]);
  try {
    return plan.kind === 'http'
      ? await checkHttp(plan, registrant, targets, within)
      : await checkTcp(plan, registrant, targets, within);
  } catch (error) {
    const what = plan.kind === 'http' ? `${titled(plan.method)} ${JSON.stringify(plan.target)}: ` : '';
    return { status: 'critical', output: what + reasonOf(error, within) };
  }
}

async function checkHttp(
  plan: CheckPlan,
  registrant: string,
  targets: CheckTargets,
  signal: AbortSignal,
): Promise<CheckResult> {
  const url = new URL(plan.target);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new Error(`unsupported protocol scheme "${url.protocol.slice(0, -1)}"`);
  targets.assertAllowed(url.hostname.replace(/^\[|\]$/g, ''), registrant);
  const options: RequestOptions & { rejectUnauthorized: boolean } = {
    method: plan.method,
    // A connection of its own each time: a kept one would go on answering for a process that no longer accepts.
    agent: false,
    headers: {
      'user-agent': 'Consul Health Check',
      accept: 'text/plain, text/*, */*',
      connection: 'close',
      ...(Object.fromEntries(
        Object.entries(plan.header).map(([name, values]) => [name.toLowerCase(), [...values]]),
      ) as Record<string, string[]>),
    },
    lookup: targets.lookupFor(registrant),
    rejectUnauthorized: !plan.tlsSkipVerify,
    signal,
  };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options, resolve);
    request.on('error', reject);
    request.end(plan.body);
  });
  const body = await readSome(response, plan.outputMax);
  const code = response.statusCode ?? 0;
  const status = code >= 200 && code < 300 ? 'passing' : code === 429 ? 'warning' : 'critical';
  const output = `HTTP ${plan.method} ${plan.target}: ${code} ${response.statusMessage ?? ''} Output: ${body}`;
  return { status, output };
}

/** The first `limit` bytes; what follows is not waited for. */
async function readSome(response: IncomingMessage, limit: number): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response) {
    chunks.push(chunk as Buffer);
    length += (chunk as Buffer).length;
    if (length >= limit) break;
  }
  return Buffer.concat(chunks).subarray(0, limit).toString('utf8');
}

async function checkTcp(
  plan: CheckPlan,
  registrant: string,
  targets: CheckTargets,
  signal: AbortSignal,
): Promise<CheckResult> {
  const place = parseHostPort(plan.target);
  if (place === null) throw new Error(`dial tcp: address ${plan.target}: missing port in address`);
  targets.assertAllowed(place.host, registrant);
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ ...place, lookup: targets.lookupFor(registrant) });
    const stop = () => socket.destroy(signal.reason as Error);
    signal.addEventListener('abort', stop, { once: true });
    socket.once('connect', () => {
      socket.end();
      socket.destroy();
      resolve();
    });
    socket.once('error', reject);
    socket.once('close', () => signal.removeEventListener('abort', stop));
    if (signal.aborted) stop();
  });
  return { status: 'passing', output: `TCP connect ${plan.target}: Success` };
}

/** `Get`, as Go names the method in its errors. */
function titled(method: string): string {
  return method[0] + method.slice(1).toLowerCase();
}

function reasonOf(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return 'context deadline exceeded';
  const { code, address, port, message } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  if (code === 'ECONNREFUSED' && address !== undefined)
    return `dial tcp ${address.includes(':') ? `[${address}]` : address}:${port}: connect: connection refused`;
  return message || String(error);
}
