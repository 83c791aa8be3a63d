// fastify with @fastify/reply-from over undici.
import { type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import { listenPort, nextOrigin, originUrls } from './arguments.ts';

/** A name that is not a literal, because the package need not be installed. */
const dependency: string = '@fastify/reply-from';
const { default: replyFrom } = await import(dependency);

const app = fastify({ keepAliveTimeout: 600_000 });
await app.register(replyFrom, { undici: { connections: 512, pipelining: 1 } });
// The body goes on as a stream, unread.
app.removeAllContentTypeParsers();
app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
app.all('/*', (request: FastifyRequest, reply: FastifyReply) =>
  (reply as FastifyReply & { from(url: string, options: object): FastifyReply }).from(
    originUrls[nextOrigin()] + request.url,
    {
      rewriteRequestHeaders: (_request: FastifyRequest, headers: Record<string, string>) => ({
        ...headers,
        host: request.headers.host,
        'x-forwarded-for': request.ip,
        'x-forwarded-proto': 'http',
        'x-forwarded-host': request.headers.host,
      }),
    },
  ),
);
await app.listen({ port: listenPort, host: '127.0.0.1', backlog: 4096 });
