import type { IncomingMessage } from 'node:http';

type Head = Partial<Pick<IncomingMessage, 'method' | 'headers'>>;

/** Has `act` find this on the request: http-proxy-3 copies what it needs at once. The host's own code goes on seeing what the client sent. */
export function showHead(request: IncomingMessage, head: Head, act: () => void): void {
  const keys = Object.keys(head) as (keyof Head)[];
  const own = keys.map((key) => Object.getOwnPropertyDescriptor(request, key));
  for (const key of keys) Object.defineProperty(request, key, { value: head[key], configurable: true, writable: true });
  try {
    act();
  } finally {
    keys.forEach((key, i) => {
      // Without one of its own it has its prototype's.
      if (own[i] === undefined) Reflect.deleteProperty(request, key);
      else Object.defineProperty(request, key, own[i] as PropertyDescriptor);
    });
  }
}
