// undici's Pool.dispatch behind node:http, without a stream in between where none is needed: the fastest documented way.
import { createServer, type ServerResponse } from 'node:http';
import { type Dispatcher, Pool } from 'undici';
import { forwardedHeaders, HOP_BY_HOP, hasBody, listenPort, nextOrigin, originUrls } from './arguments.ts';

const pools = originUrls.map((url) => new Pool(url, { connections: 512, pipelining: 1 }));

class Reply implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse;
  #controller: Dispatcher.DispatchController | null = null;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#response.on('drain', () => controller.resume());
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: NodeJS.Dict<string | string[]>) {
    const out: NodeJS.Dict<string | string[]> = {};
    for (const name in headers) if (!HOP_BY_HOP.has(name)) out[name] = headers[name];
    this.#response.writeHead(status, out as Record<string, string | string[]>);
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#response.write(chunk)) this.#controller?.pause();
  }

  onResponseEnd(): void {
    this.#response.end();
  }

  onResponseError(): void {
    if (this.#response.headersSent) this.#response.destroy();
    else this.#response.writeHead(502).end();
  }
}

createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
  const headers = forwardedHeaders(request.rawHeaders, request.socket.remoteAddress ?? '');
  const options: Dispatcher.DispatchOptions = {
    path: request.url as string,
    method: request.method as Dispatcher.HttpMethod,
    headers,
    body: hasBody(request.headers) ? request : null,
  };
  pools[nextOrigin()].dispatch(options, new Reply(response));
}).listen(listenPort, '127.0.0.1', 4096);
