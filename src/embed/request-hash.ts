import { HASH_START, hashBytes, keyOfHash } from '../base/hash.ts';
import { type HashKey, HashPart } from '../scheduling/hash-key.ts';

/** A request as a host program's clients and servers have it. */
export interface HashedMessage {
  /** Path and query. */
  readonly target: string;
  /** Value of a header by its lower-case name; '' when there is none. */
  readonly header: (name: string) => string;
  /** Address of the client, '' when there is none. */
  readonly client: string;
}

/** What a scheduler's `hashOn` hashes to, 1…2³¹−1, the same as on evenkeel's listeners; 0 when the request does not have it, or has it empty. */
export function hashOfMessage(on: HashKey, message: HashedMessage): number {
  const value = hashedText(on, message);
  if (value === '') return 0;
  const bytes = Buffer.from(value, on.part === HashPart.QUERY ? 'utf8' : 'latin1');
  return keyOfHash(hashBytes(HASH_START, bytes, 0, bytes.length));
}

function hashedText({ part, name }: HashKey, { target, header, client }: HashedMessage): string {
  switch (part) {
    case HashPart.HEADER:
      return header(name);
    case HashPart.COOKIE:
      return cookie(header('cookie'), name);
    case HashPart.QUERY:
      return new URLSearchParams(target.split('#')[0].split('?').slice(1).join('?')).get(name) ?? '';
    case HashPart.PATH:
      return target.split(/[?#]/, 1)[0];
    case HashPart.CLIENT:
      return client;
  }
}

function cookie(cookies: string, name: string): string {
  for (const one of cookies.split(';')) {
    const pair = one.trim();
    if (pair.startsWith(`${name}=`)) return pair.slice(name.length + 1);
  }
  return '';
}
