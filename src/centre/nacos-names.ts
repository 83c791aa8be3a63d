import { OperationError } from '../base/errors.ts';
import type { NacosItem } from '../stores/nacos/nacos-config.ts';

/** Nacos takes gRPC messages of 10 MiB, in which a content stands as a JSON string. */
const VALUE_LIMIT = 4 * 1024 * 1024;

/** Stands before a text that Nacos would take for none, and before one that begins so itself. */
const MARK = 'evenkeel:';

/** A path as a data ID. They hold letters, digits and `_ - . :`, so a slash becomes a colon, and every other byte `_` and two hex digits. */
export function dataIdOf(path: string): string {
  const escaped = (text: string) => [...Buffer.from(text)].map((byte) => `_${byte.toString(16).padStart(2, '0')}`);
  return path
    .split('/')
    .map((step) => step.replaceAll(/[^A-Za-z0-9.-]+/g, (text) => escaped(text).join('')))
    .join(':');
}

/** The config that holds the names in a folder. */
export function listId(prefix: string, folder: string): string {
  return `${dataIdOf(`${prefix}/${folder}`)}:`;
}

/** `versions/12-abc` → `versions` and `12-abc`; the folder of `head` is null. */
export function foldedKey(key: string): { readonly folder: string | null; readonly name: string } {
  const at = key.indexOf('/');
  return at < 0 ? { folder: null, name: key } : { folder: key.slice(0, at), name: key.slice(at + 1) };
}

/** Throws an OperationError when it is no list of ours. */
export function namesIn(item: NacosItem | null): string[] {
  if (item === null) return [];
  try {
    const names: unknown = JSON.parse(item.content);
    if (Array.isArray(names)) return names.map(String);
  } catch {
    // said below
  }
  throw new OperationError('store-garbled', `a list of names in Nacos holds ${item.content.slice(0, 100)}`);
}

/** A text as Nacos keeps it: it refuses a blank one. Throws an OperationError when it is too long. */
export function contentOf(text: string): string {
  const bytes = Buffer.byteLength(text);
  if (bytes > VALUE_LIMIT)
    throw new OperationError('too-long', `${bytes} bytes are more than a config of Nacos takes (${VALUE_LIMIT})`);
  return text.trim() === '' || text.startsWith(MARK) ? MARK + text : text;
}

export function textOf(content: string): string {
  return content.startsWith(MARK) ? content.slice(MARK.length) : content;
}
