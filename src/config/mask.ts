import type { DocumentTree } from './document-tree.ts';
import type { Path } from './path.ts';
import { isSecret, isSecretKey, MASK, maskedText } from './secrets.ts';

/** A copy of a document's plain data that may be shown: every secret is `***`, and so is the password in an address. */
export function masked(data: unknown, tree: DocumentTree, path: Path = []): unknown {
  if (Array.isArray(data)) return data.map((item, i) => masked(item, tree, [...path, i]));
  if (typeof data === 'object' && data !== null) {
    return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, masked(value, tree, [...path, key])]));
  }
  // An empty secret is no secret: that none is set is worth seeing.
  if (data === '' || data === null) return data;
  if (isSecret(tree, path, data)) return MASK;
  return typeof data === 'string' ? maskedText(data) : data;
}

/** The same for a part of a judged document, which no tree stands behind: `keys` lead to it from the pool, registry, listener or section it is of. */
export function maskedPart(data: unknown, keys: readonly string[]): unknown {
  if (Array.isArray(data)) return data.map((item) => maskedPart(item, keys));
  if (typeof data === 'object' && data !== null)
    return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, maskedPart(value, [...keys, key])]));
  if (data === '' || data === null || data === undefined) return data;
  if (keys.some(isSecretKey)) return MASK;
  return typeof data === 'string' ? maskedText(data) : data;
}
