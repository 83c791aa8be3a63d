import { bytesOf, TOKEN } from './byte-class.ts';

/**
 * What a header line is to a proxy. Every line of a head gets one of these; lines of kind OTHER are carried as they are.
 * X_EVENKEEL is every name that begins with `x-evenkeel-`, X_FORWARDED_MORE every one with `x-forwarded-` that has no kind of its own.
 * NAMED_BY_CONNECTION is a field that a Connection header of the same message names: hop-by-hop, not to be forwarded (RFC 9110 §7.6.1).
 * LOOKALIKE spells a field that framing or the proxy itself owns with '_' for '-' (`Content_Length`, `X_Forwarded_For`): to CGI-like
 * endpoints both are one variable, so it is best not forwarded.
 */
export const Field = {
  OTHER: 0,
  HOST: 1,
  CONNECTION: 2,
  KEEP_ALIVE: 3,
  TRANSFER_ENCODING: 4,
  UPGRADE: 5,
  CONTENT_LENGTH: 6,
  EXPECT: 7,
  RETRY_AFTER: 8,
  PROXY_CONNECTION: 9,
  TE: 10,
  TRAILER: 11,
  X_FORWARDED_FOR: 12,
  X_FORWARDED_PROTO: 13,
  X_FORWARDED_HOST: 14,
  X_FORWARDED_PORT: 15,
  FORWARDED: 16,
  X_REAL_IP: 17,
  MAX_FORWARDS: 18,
  VIA: 19,
  DATE: 20,
  IDEMPOTENCY_KEY: 21,
  TRACEPARENT: 22,
  TRACESTATE: 23,
  COOKIE: 24,
  SET_COOKIE: 25,
  AUTHORIZATION: 26,
  PROXY_AUTHENTICATE: 27,
  PROXY_AUTHENTICATION_INFO: 28,
  PROXY_AUTHORIZATION: 29,
  X_EVENKEEL: 30,
  LOOKALIKE: 31,
  NAMED_BY_CONNECTION: 32,
  X_FORWARDED_MORE: 33,
} as const;
export type Field = (typeof Field)[keyof typeof Field];

/** Kinds from 1 up to this one say something about framing or persistence: a head looks into their values. */
export const LAST_INSPECTED = Field.RETRY_AFTER;

/** What may become of a field that a Connection header names. */
export const Named = { REMOVED: 0, KEPT: 1, REFUSED: 2 } as const;
export const whenNamed = new Uint8Array(64);
for (const kind of [
  Field.CONNECTION,
  Field.KEEP_ALIVE,
  Field.PROXY_CONNECTION,
  Field.TE,
  Field.TRAILER,
  Field.UPGRADE,
  Field.PROXY_AUTHENTICATE,
  Field.PROXY_AUTHENTICATION_INFO,
  Field.PROXY_AUTHORIZATION,
  Field.LOOKALIKE,
])
  whenNamed[kind] = Named.KEPT;
for (const kind of [
  Field.HOST,
  Field.TRANSFER_ENCODING,
  Field.CONTENT_LENGTH,
  Field.EXPECT,
  Field.X_FORWARDED_FOR,
  Field.X_FORWARDED_PROTO,
  Field.X_FORWARDED_HOST,
  Field.X_FORWARDED_PORT,
  Field.FORWARDED,
  Field.X_REAL_IP,
  Field.X_FORWARDED_MORE,
  Field.X_EVENKEEL,
  Field.MAX_FORWARDS,
  Field.VIA,
])
  whenNamed[kind] = Named.REFUSED;

const NAMES: readonly (readonly [string, Field])[] = [
  ['host', Field.HOST],
  ['connection', Field.CONNECTION],
  ['keep-alive', Field.KEEP_ALIVE],
  ['proxy-connection', Field.PROXY_CONNECTION],
  ['te', Field.TE],
  ['trailer', Field.TRAILER],
  ['transfer-encoding', Field.TRANSFER_ENCODING],
  ['upgrade', Field.UPGRADE],
  ['content-length', Field.CONTENT_LENGTH],
  ['expect', Field.EXPECT],
  ['x-forwarded-for', Field.X_FORWARDED_FOR],
  ['x-forwarded-proto', Field.X_FORWARDED_PROTO],
  ['x-forwarded-host', Field.X_FORWARDED_HOST],
  ['x-forwarded-port', Field.X_FORWARDED_PORT],
  ['forwarded', Field.FORWARDED],
  ['x-real-ip', Field.X_REAL_IP],
  ['max-forwards', Field.MAX_FORWARDS],
  ['via', Field.VIA],
  ['date', Field.DATE],
  ['retry-after', Field.RETRY_AFTER],
  ['idempotency-key', Field.IDEMPOTENCY_KEY],
  ['traceparent', Field.TRACEPARENT],
  ['tracestate', Field.TRACESTATE],
  ['cookie', Field.COOKIE],
  ['set-cookie', Field.SET_COOKIE],
  ['authorization', Field.AUTHORIZATION],
  ['proxy-authenticate', Field.PROXY_AUTHENTICATE],
  ['proxy-authentication-info', Field.PROXY_AUTHENTICATION_INFO],
  ['proxy-authorization', Field.PROXY_AUTHORIZATION],
];

/** Fields whose lookalikes matter: framing, the client's address and evenkeel's own. */
const OWNED = new Uint8Array(64);
for (const field of [
  Field.TRANSFER_ENCODING,
  Field.CONTENT_LENGTH,
  Field.X_FORWARDED_FOR,
  Field.X_FORWARDED_PROTO,
  Field.X_FORWARDED_HOST,
  Field.X_FORWARDED_PORT,
  Field.X_REAL_IP,
])
  OWNED[field] = 1;

/** TOKEN with '_' folded into '-'. */
const FOLDED = TOKEN.map((byte) => (byte === 0x5f ? 0x2d : byte));
const OWN_PREFIX = bytesOf('x-evenkeel-');
const FORWARDED_PREFIX = bytesOf('x-forwarded-');
const X = 0x78;
const STRIDE = 32;
/** A perfect hash over length, first and last but one byte (found by search over the multipliers): one name a slot, or none. */
const slotField = new Uint8Array(64);
const slotLength = new Uint8Array(64);
const slotName = new Uint8Array(64 * STRIDE);
for (const [name, field] of NAMES) {
  const slot = slotOf(name.length, name.charCodeAt(0), name.charCodeAt(name.length - 2));
  slotField[slot] = field;
  slotLength[slot] = name.length;
  slotName.set(bytesOf(name), slot * STRIDE);
}

/** By the first byte of a name, a bit for each length (31: that or more) at which the name may be a known one. Turns most names away. */
const lengthsByFirst = new Int32Array(256);
for (let byte = 0; byte < 256; byte++) {
  for (const [name] of NAMES) if (name.charCodeAt(0) === TOKEN[byte]) lengthsByFirst[byte] |= 1 << name.length;
  if (TOKEN[byte] === X) lengthsByFirst[byte] |= -1 << (OWN_PREFIX.length + 1);
}

function slotOf(length: number, first: number, lastButOne: number): number {
  return (length + first * 5 + lastButOne * 30) & 63;
}

/** The kind of the field name buf[start, end), which holds token bytes only; case-insensitive. NAMED_BY_CONNECTION is not found here. */
export function fieldOf(buf: Uint8Array, start: number, end: number): Field {
  const length = end - start;
  if (((lengthsByFirst[buf[start]] >>> (length < 31 ? length : 31)) & 1) === 0) return Field.OTHER;
  const first = FOLDED[buf[start]];
  const slot = slotOf(length, first, FOLDED[buf[end - 2]]);
  if (slotLength[slot] === length) {
    const field = slotField[slot] as Field;
    if (isName(buf, start, slotName, slot * STRIDE, length)) return field;
    if (foldsTo(buf, start, slotName, slot * STRIDE, length)) return OWNED[field] === 1 ? Field.LOOKALIKE : Field.OTHER;
  }
  return first === X ? prefixedField(buf, start, length) : Field.OTHER;
}

function prefixedField(buf: Uint8Array, start: number, length: number): Field {
  if (length > OWN_PREFIX.length && foldsTo(buf, start, OWN_PREFIX, 0, OWN_PREFIX.length))
    return hasUnderscore(buf, start, start + OWN_PREFIX.length) ? Field.LOOKALIKE : Field.X_EVENKEEL;
  if (length > FORWARDED_PREFIX.length && foldsTo(buf, start, FORWARDED_PREFIX, 0, FORWARDED_PREFIX.length))
    return hasUnderscore(buf, start, start + FORWARDED_PREFIX.length) ? Field.LOOKALIKE : Field.X_FORWARDED_MORE;
  return Field.OTHER;
}

function isName(buf: Uint8Array, start: number, name: Uint8Array, nameStart: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (TOKEN[buf[start + i]] !== name[nameStart + i]) return false;
  return true;
}

function foldsTo(buf: Uint8Array, start: number, name: Uint8Array, nameStart: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (FOLDED[buf[start + i]] !== name[nameStart + i]) return false;
  return true;
}

function hasUnderscore(buf: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (buf[i] === 0x5f) return true;
  return false;
}
