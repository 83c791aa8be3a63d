import { hashText, keyOfHash } from '../base/hash.ts';
import { type HashKey, HashPart } from '../scheduling/hash-key.ts';

/** What a scheduler's `hashOn` hashes to where there is no request to look into: only the client has a hash. 0 for every other part. */
export function hashOfClient(on: HashKey, clientAddress: string): number {
  return on.part === HashPart.CLIENT && clientAddress !== '' ? keyOfHash(hashText(clientAddress)) : 0;
}
