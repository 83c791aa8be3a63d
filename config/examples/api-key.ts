import type { Middleware, MiddlewareContext } from 'evenkeel/middleware';
import type { Kind } from 'evenkeel/part';
import { z } from 'zod';

// A middleware of one's own: lets requests with a known key through, and tells the endpoint whose it is. In a document:
//   middleware: [{ kind: ./api-key.ts, keys: { s3cret: alice } }]
const options = z.object({
  header: z.string().default('x-api-key').describe('where the key stands'),
  keys: z.record(z.string(), z.string()).describe('names by key'),
});

export const apiKey: Kind<Middleware, MiddlewareContext> = {
  kind: 'api-key',
  summary: 'lets requests with a known key through',
  options,
  create({ header, keys }: z.infer<typeof options>) {
    return {
      onRequest(exchange) {
        const key = exchange.header(header);
        const name = key !== null && Object.hasOwn(keys, key) ? keys[key] : undefined;
        if (name === undefined) return exchange.answer(401, 'who are you?\n');
        exchange.setRequestHeader(header, null);
        exchange.setRequestHeader('x-user', name);
        return 0; // go on
      },
    };
  },
};
