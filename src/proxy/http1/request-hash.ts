import { HASH_START, hashByte, hashBytes, hashText, keyOfHash } from '../../base/hash.ts';
import { type HashKey, HashPart } from '../../scheduling/hash-key.ts';
import { equalsToken, HEX, isSpace } from '../../wire/http1/byte-class.ts';
import { Field } from '../../wire/http1/field.ts';
import type { RequestHead } from '../../wire/http1/request-head.ts';
import type { HeaderEdits } from './header-edits.ts';

const NO_KEY = 0;
const SLASH = 0x2f;
const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
const AMPERSAND = 0x26;
const PERCENT = 0x25;
const PLUS = 0x2b;
const NO_BYTE = 255;

/** What is hashed besides the head itself. */
export interface HashedRequest {
  /** The bytes the head points into. */
  readonly headBytes: Buffer;
  readonly requestEdits: HeaderEdits;
  /** As the access log says it. */
  readonly clientAddress: string;
}

/**
 * What a scheduler's `hashOn` hashes to in a request, 1…2³¹−1; 0 when the request does not have it, or has it empty. Called once per request, only for
 * pools whose scheduler hashes. Bytes are hashed where they lie; of several lines, cookies or parameters of the name the first counts.
 */
export function hashOfRequest(on: HashKey, head: RequestHead, request: HashedRequest): number {
  const buf = request.headBytes;
  switch (on.part) {
    case HashPart.HEADER:
      return hashOfHeader(on, head, request);
    case HashPart.COOKIE:
      return hashOfCookie(on.nameBytes, head, buf);
    case HashPart.QUERY:
      return hashOfParameter(on.nameBytes, buf, head.queryStart, head.queryEnd);
    case HashPart.PATH:
      // An absolute-form without a path means `/`.
      if (head.pathEnd === head.pathStart) return keyOfHash(hashByte(HASH_START, SLASH));
      return hashOfValue(buf, head.pathStart, head.pathEnd);
    case HashPart.CLIENT:
      return request.clientAddress === '' ? NO_KEY : keyOfHash(hashText(request.clientAddress));
  }
}

function hashOfValue(buf: Buffer, start: number, end: number): number {
  return end === start ? NO_KEY : keyOfHash(hashBytes(HASH_START, buf, start, end));
}

/** What a middleware made of the header counts, as the endpoint sees nothing else. */
function hashOfHeader(on: HashKey, head: RequestHead, { headBytes, requestEdits }: HashedRequest): number {
  if (requestEdits.size > 0) {
    const edited = requestEdits.get(on.name);
    if (edited !== undefined) return edited === null || edited === '' ? NO_KEY : keyOfHash(hashText(edited));
  }
  const { offsets, headerCount } = head;
  for (let at = 0; at < headerCount * 5; at += 5) {
    if (equalsToken(headBytes, offsets[at], offsets[at + 1], on.nameBytes))
      return hashOfValue(headBytes, offsets[at + 2], offsets[at + 3]);
  }
  return NO_KEY;
}

function hashOfCookie(name: Uint8Array, head: RequestHead, buf: Buffer): number {
  const { kinds, offsets, headerCount } = head;
  for (let i = 0; i < headerCount; i++) {
    if (kinds[i] !== Field.COOKIE) continue;
    const end = offsets[i * 5 + 3];
    for (let p = offsets[i * 5 + 2]; p < end; p++) {
      while (p < end && isSpace(buf[p])) p++;
      const start = p;
      while (p < end && buf[p] !== SEMICOLON) p++;
      if (startsWithName(buf, start, p, name))
        return hashOfValue(buf, start + name.length + 1, trimmedEnd(buf, start, p));
    }
  }
  return NO_KEY;
}

/** Whether buf[start, end) is `name=…`. Names of cookies are case-sensitive (RFC 6265 §5.4). */
function startsWithName(buf: Buffer, start: number, end: number, name: Uint8Array): boolean {
  if (end - start <= name.length || buf[start + name.length] !== EQUALS) return false;
  for (let i = 0; i < name.length; i++) if (buf[start + i] !== name[i]) return false;
  return true;
}

function trimmedEnd(buf: Buffer, start: number, end: number): number {
  let p = end;
  while (p > start && isSpace(buf[p - 1])) p--;
  return p;
}

/** Decoded as a form (`+` is a space), so that every spelling of a value goes to the same endpoint. */
function hashOfParameter(name: Uint8Array, buf: Buffer, start: number, end: number): number {
  for (let p = start; p < end; p++) {
    let matched = 0;
    for (; p < end && buf[p] !== EQUALS && buf[p] !== AMPERSAND; p++) {
      const byte = decodedAt(buf, p, end);
      if (isEscape(buf, p, end)) p += 2;
      matched = matched >= 0 && byte === name[matched] ? matched + 1 : -1;
    }
    const isNamed = matched === name.length;
    if (p < end && buf[p] === EQUALS) p++;
    const valueStart = p;
    let hash = HASH_START;
    for (; p < end && buf[p] !== AMPERSAND; p++) {
      if (!isNamed) continue;
      hash = hashByte(hash, decodedAt(buf, p, end));
      if (isEscape(buf, p, end)) p += 2;
    }
    if (isNamed) return p === valueStart ? NO_KEY : keyOfHash(hash);
  }
  return NO_KEY;
}

function isEscape(buf: Buffer, p: number, end: number): boolean {
  return buf[p] === PERCENT && p + 2 < end && HEX[buf[p + 1]] !== NO_BYTE && HEX[buf[p + 2]] !== NO_BYTE;
}

function decodedAt(buf: Buffer, p: number, end: number): number {
  if (isEscape(buf, p, end)) return HEX[buf[p + 1]] * 16 + HEX[buf[p + 2]];
  return buf[p] === PLUS ? 0x20 : buf[p];
}
