import type { ApiParts } from './agent-services-api.ts';
import { Answer } from './answer.ts';
import type { ApiCall } from './api-call.ts';
import { ApiError } from './api-error.ts';
import { checkScope, type View } from './blocking-queries.ts';
import type { KeyValue, KeyValues } from './key-values.ts';
import type { Router } from './router.ts';
import { topicOf } from './topics.ts';

/** ECMAScript's "JSON.parse source text access"; TypeScript does not know it yet. */
const json = JSON as unknown as { rawJSON(text: string): unknown };

/** `/v1/kv/*`: keys and values with check-and-set and blocking queries. There are no sessions, so nothing can be locked. */
export function serveKeyValues(router: Router, { blocking, journal }: ApiParts, keyValues: KeyValues): void {
  router.get('/v1/kv/', (call) => {
    const isTree = call.flag('recurse') || call.flag('keys');
    if (call.rest === '' && !isTree) throw new ApiError(400, 'Missing key name');
    blocking.answer(call, isTree ? treeView(call, keyValues) : keyView(call, keyValues));
  });

  router.put('/v1/kv/', async (call) => {
    const key = writableKey(call);
    const flags = readUnsigned(call, 'flags') ?? '0';
    const expected = readUnsigned(call, 'cas');
    const value = await call.body();
    const isExpected = expected === null || expected === String(keyValues.get(key)?.modifyIndex ?? 0);
    if (isExpected && !keyValues.put(key, value, flags)) throw new ApiError(500, 'the key/value store is full');
    await journal.committed();
    call.json(new Answer(isExpected, call.flag('pretty')));
  });

  router.delete('/v1/kv/', async (call) => {
    const isTree = call.flag('recurse');
    const expected = readUnsigned(call, 'cas');
    if (isTree && expected !== null) throw new ApiError(400, `Conflicting flags: ${call.query}`);
    const key = isTree ? call.rest : writableKey(call);
    checkScope(call);
    const known = keyValues.get(key);
    const isExpected = expected === null || known === null || expected === String(known.modifyIndex);
    if (isTree) keyValues.remove(keyValues.under(key).map((entry) => entry.key));
    else if (isExpected) keyValues.remove([key]);
    await journal.committed();
    call.json(new Answer(isExpected, call.flag('pretty')));
  });
}

function keyView(call: ApiCall, keyValues: KeyValues): View {
  const key = call.rest;
  return {
    topic: topicOf.key(key),
    hidesConsistency: true,
    index: () => keyValues.indexOf(key),
    exists: () => keyValues.get(key) !== null,
    render: () => [entryView(keyValues.get(key) as KeyValue)],
    send: (headers) => {
      const entry = keyValues.get(key);
      if (entry === null) call.empty(404, headers);
      else if (call.flag('raw')) call.raw(entry.value, headers);
      return entry === null || call.flag('raw');
    },
  };
}

function treeView(call: ApiCall, keyValues: KeyValues): View {
  const prefix = call.rest;
  const separator = call.flag('keys') ? (call.query.get('separator') ?? '') : null;
  return {
    topic: topicOf.keys,
    hidesConsistency: true,
    index: () => keyValues.indexUnder(prefix),
    exists: () => true,
    render: () => {
      const entries = keyValues.under(prefix);
      return separator === null ? entries.map(entryView) : keyNames(entries, prefix, separator);
    },
    send: (headers) => {
      const isEmpty = keyValues.under(prefix).length === 0;
      if (isEmpty) call.empty(404, headers);
      return isEmpty;
    },
  };
}

/** Names up to the first separator after the prefix, each once. */
function keyNames(entries: readonly KeyValue[], prefix: string, separator: string): string[] {
  if (separator === '') return entries.map(({ key }) => key);
  const names = new Set<string>();
  for (const { key } of entries) {
    const at = key.indexOf(separator, prefix.length);
    names.add(at === -1 ? key : key.slice(0, at + separator.length));
  }
  return [...names];
}

function entryView({ key, value, flags, createIndex, modifyIndex }: KeyValue): Record<string, unknown> {
  return {
    LockIndex: 0,
    Key: key,
    // Beyond 2^53 a number of ours would be another one.
    Flags: json.rawJSON(flags),
    Value: value.length === 0 ? null : value.toString('base64'),
    CreateIndex: createIndex,
    ModifyIndex: modifyIndex,
  };
}

function writableKey(call: ApiCall): string {
  if (call.rest === '') throw new ApiError(400, 'Missing key name');
  for (const name of ['acquire', 'release'])
    if (call.flag(name)) throw new ApiError(400, `${name}: this registry has no sessions`);
  checkScope(call);
  return call.rest;
}

/** An unsigned 64-bit integer of the query, in its shortest form; null without it. Throws with Go's text. */
function readUnsigned(call: ApiCall, name: string): string | null {
  if (!call.flag(name)) return null;
  const text = call.query.get(name) ?? '';
  const invalid = `strconv.ParseUint: parsing ${JSON.stringify(text)}: `;
  if (!/^\d+$/.test(text)) throw new ApiError(500, `${invalid}invalid syntax`);
  const value = BigInt(text);
  if (value > 0xffff_ffff_ffff_ffffn) throw new ApiError(500, `${invalid}value out of range`);
  return String(value);
}
