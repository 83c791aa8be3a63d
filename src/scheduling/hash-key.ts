/** Which part of a request a scheduler hashes. Engines that do not know a part pass "no key". */
export const HashPart = { HEADER: 0, COOKIE: 1, QUERY: 2, PATH: 3, CLIENT: 4 } as const;
export type HashPart = (typeof HashPart)[keyof typeof HashPart];

/** What a scheduler hashes on, read once when it is made: requests with the same value go to the same endpoint. */
export interface HashKey {
  readonly part: HashPart;
  /** Name of the header (lower case), the cookie or the query parameter; '' for the other parts. */
  readonly name: string;
  /** The name's bytes, which engines compare with those of a request. */
  readonly nameBytes: Uint8Array;
}

const NAMED: Readonly<Record<string, HashPart>> = {
  header: HashPart.HEADER,
  cookie: HashPart.COOKIE,
  query: HashPart.QUERY,
};
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** `header:NAME`, `cookie:NAME`, `query:NAME`, `path` or `client`; null when it is none of these. */
export function parseHashKey(text: string): HashKey | null {
  if (text === 'path') return makeKey(HashPart.PATH, '');
  if (text === 'client') return makeKey(HashPart.CLIENT, '');
  const colon = text.indexOf(':');
  const word = text.slice(0, Math.max(0, colon));
  const name = text.slice(colon + 1);
  if (!Object.hasOwn(NAMED, word) || name === '') return null;
  const part = NAMED[word];
  if (part !== HashPart.QUERY && !TOKEN.test(name)) return null;
  return makeKey(part, part === HashPart.HEADER ? name.toLowerCase() : name);
}

function makeKey(part: HashPart, name: string): HashKey {
  return { part, name, nameBytes: new TextEncoder().encode(name) };
}
