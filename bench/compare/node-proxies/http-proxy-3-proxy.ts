// http-proxy-3, the maintained successor of http-proxy, as its README has it, with a keep-alive agent.
import { Agent, createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { listenPort, nextOrigin, originUrls } from './arguments.ts';

/** A name that is not a literal, because the package need not be installed. */
const dependency: string = 'http-proxy-3';
const { createProxyServer } = await import(dependency);

const agent = new Agent({ keepAlive: true, maxSockets: 512 });
const proxy = createProxyServer({ agent, xfwd: true });
proxy.on('error', (_error: Error, _request: IncomingMessage, response: ServerResponse) =>
  response.headersSent ? response.destroy() : response.writeHead(502).end(),
);

createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
  proxy.web(request, response, { target: originUrls[nextOrigin()] });
}).listen(listenPort, '127.0.0.1', 4096);
