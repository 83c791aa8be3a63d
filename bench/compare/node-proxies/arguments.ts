/** What every proxy of this folder is started with: `FILE PORT ORIGIN_PORT...`. */
const [port, ...origins] = process.argv.slice(2).map(Number);

export const listenPort = port;
export const originUrls = origins.map((origin) => `http://127.0.0.1:${origin}`);

let next = 0;
/** Index of the origin whose turn it is. */
export function nextOrigin(): number {
  next = next + 1 < originUrls.length ? next + 1 : 0;
  return next;
}

/** Fields that end at this hop (RFC 9110 §7.6.1). */
export const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Raw headers of a request as they go on, as a flat list of names and values. */
export function forwardedHeaders(rawHeaders: readonly string[], peer: string): string[] {
  const headers: string[] = [];
  let host = '';
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i].toLowerCase();
    if (HOP_BY_HOP.has(name)) continue;
    if (name === 'host') host = rawHeaders[i + 1];
    headers.push(rawHeaders[i], rawHeaders[i + 1]);
  }
  headers.push('X-Forwarded-For', peer, 'X-Forwarded-Proto', 'http', 'X-Forwarded-Host', host);
  return headers;
}

/** Whether a request has a body. */
export function hasBody(headers: NodeJS.Dict<string | string[]>): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}
