// The origin where nginx is not installed: `node-origin.ts PORT...`. Answers the paths of origin.ts.
import { createServer } from 'node:http';
import { BODY_BYTES, FORWARDED_PATH } from './origin.ts';

const bodies = new Map(
  Object.entries(BODY_BYTES).map(([path, bytes]) => [path, Buffer.alloc(bytes, '0123456789abcdef')]),
);

for (const port of process.argv.slice(2).map(Number)) {
  createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
    request.resume();
    const { headers, url } = request;
    if (url === FORWARDED_PATH)
      response.end(
        `${headers['x-forwarded-for']} ${headers['x-forwarded-proto']} ${headers['x-forwarded-host'] ?? ''}`,
      );
    else response.end(bodies.get(url ?? '') ?? '');
  }).listen(port, '127.0.0.1', 4096);
}
