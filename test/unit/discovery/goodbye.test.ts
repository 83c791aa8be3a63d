import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, type TestContext } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { registries } from '../../../src/discovery/catalog.ts';
import { eventually } from '../../helpers/eventually.ts';

const self = { service: 'web', id: 'me', host: '127.0.0.1', port: 7001, weight: 1, tags: [], metadata: {}, ttlMs: 300 };

/** A request whose answer the test gives, so that the goodbye comes while its beat is under way. */
interface Case {
  readonly kind: string;
  readonly settings: object;
  /** What the server says to a request, known by its method and path; the nth like it. */
  readonly answer: (act: string, nth: number) => readonly [status: number, body: string];
  readonly isHeld: (act: string, nth: number) => boolean;
  readonly goodbye: string;
}

const cases: readonly Case[] = [
  {
    kind: 'eureka',
    settings: {},
    answer: (act) => (act.startsWith('PUT ') ? [404, ''] : [200, '']),
    isHeld: (act) => act.startsWith('PUT '),
    goodbye: 'DELETE /apps/WEB/me',
  },
  {
    kind: 'nacos',
    settings: { transport: 'http', interval: '60s' },
    answer: (act) => [200, act.endsWith('/beat') ? '{"code":20404}' : '{}'],
    isHeld: (act) => act.endsWith('/beat'),
    goodbye: 'DELETE /v1/ns/instance',
  },
  {
    kind: 'consul',
    settings: {},
    answer: (act, nth) => (act.startsWith('PUT /v1/agent/check/pass/') && nth === 2 ? [404, ''] : [200, '']),
    isHeld: (act, nth) => act === 'PUT /v1/agent/service/register' && nth === 2,
    goodbye: 'PUT /v1/agent/service/deregister/me',
  },
];

/** The server: what it has answered, in that order, reads apart. */
async function serverOf({ answer, isHeld, goodbye }: Case, { onTestFinished }: TestContext) {
  const counts = new Map<string, number>();
  const served: string[] = [];
  const heard: string[] = [];
  const held = Promise.withResolvers<() => void>();
  const server = createServer((request: IncomingMessage, response) => {
    const act = `${request.method} ${request.url!.split('?')[0]}`;
    const nth = (counts.get(act) ?? 0) + 1;
    counts.set(act, nth);
    heard.push(act);
    const [status, body] = answer(act, nth);
    const serve = () => {
      if (request.method !== 'GET') served.push(act);
      response.writeHead(status).end(body);
    };
    request.resume();
    request.on('end', () => (isHeld(act, nth) ? held.resolve(serve) : serve()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { address, served, held: held.promise, isGone: () => heard.includes(goodbye) };
}

it.for(cases)('of $kind is the last word, a beat that was under way included', async (one, t) => {
  const { address, served, held, isGone } = await serverOf(one, t);
  const settings = registries.schema().parse({ kind: one.kind, address, ...one.settings });
  const context = { name: 'r', clock: systemClock, random: () => 0.1, log: () => {} };
  const registry = registries.create(settings, context);
  t.onTestFinished(() => registry.close());
  await registry.start();
  const registered = await registry.register!(self);
  const serve = await held;
  const gone = registered.deregister();
  // Whoever does not wait for the beat has said goodbye by now.
  await eventually(isGone, { timeoutMs: 200 }).catch(() => {});
  serve();
  await gone;
  expect(served.filter((act) => act === one.goodbye)).toHaveLength(1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(served.at(-1)).toBe(one.goodbye);
});
