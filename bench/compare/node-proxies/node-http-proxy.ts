// node:http on both sides with a keep-alive agent and pipes: what most hand-written proxies do.
import { Agent, request as ask, createServer } from 'node:http';
import { forwardedHeaders, HOP_BY_HOP, hasBody, listenPort, nextOrigin, originUrls } from './arguments.ts';

const agent = new Agent({ keepAlive: true, maxSockets: 512 });
const ports = originUrls.map((url) => Number(new URL(url).port));

createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
  const upstream = ask({
    agent,
    host: '127.0.0.1',
    port: ports[nextOrigin()],
    method: request.method,
    path: request.url,
    headers: forwardedHeaders(request.rawHeaders, request.socket.remoteAddress ?? ''),
  });
  upstream.on('response', (answer) => {
    const headers: string[] = [];
    for (let i = 0; i < answer.rawHeaders.length; i += 2)
      if (!HOP_BY_HOP.has(answer.rawHeaders[i].toLowerCase()))
        headers.push(answer.rawHeaders[i], answer.rawHeaders[i + 1]);
    response.writeHead(answer.statusCode as number, headers);
    answer.pipe(response);
  });
  upstream.on('error', () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
  if (hasBody(request.headers)) request.pipe(upstream);
  else upstream.end();
}).listen(listenPort, '127.0.0.1', 4096);
