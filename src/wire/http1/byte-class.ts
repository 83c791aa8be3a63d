/** Bytes with a part in the grammar. */
export const Byte = { HTAB: 9, LF: 10, CR: 13, SP: 32, COMMA: 44, COLON: 58, QUESTION: 63 } as const;

/** ASCII text as bytes. Not a Buffer: code that compares tables with names stays monomorphic, and no slice of the pool is kept. */
export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function table(value: (byte: number) => number): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => value(byte));
}

const isAlphanumeric = (byte: number) =>
  (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
const among = (characters: string) => (byte: number) => byte < 0x80 && characters.includes(String.fromCharCode(byte));

const isTokenMark = among("!#$%&'*+-.^_`|~");
const isHostMark = among('-._~');

/** A tchar (RFC 9110 §5.6.2) in lower case; 0 for any other byte. */
export const TOKEN = table((byte) => {
  if (!isAlphanumeric(byte) && !isTokenMark(byte)) return 0;
  return byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
});

/** 1 for bytes of a field value: HTAB, SP, visible ASCII and obs-text (RFC 9110 §5.5). No CR, LF, NUL or other control byte. */
export const TEXT = table((byte) => (byte === 9 || (byte >= 0x20 && byte !== 0x7f) ? 1 : 0));

/**
 * 1 for bytes of a request target: visible ASCII without '#'. Controls, SP and bytes from 0x80 up are no URI; a fragment is never sent.
 * `"<>\^`{|}` are outside of RFC 3986 too, but browsers send them in queries, so they pass untouched.
 */
export const TARGET = table((byte) => (byte > 0x20 && byte < 0x7f && byte !== 0x23 ? 1 : 0));

/** TARGET without '?'. */
export const TARGET_PATH = table((byte) => (byte === 0x3f ? 0 : TARGET[byte]));

/** 1 for bytes of a registered name or an IPv4 address: what DNS names hold, and '_' and '~'. No percent codes, no sub-delims. */
export const HOST_NAME = table((byte) => (isAlphanumeric(byte) || isHostMark(byte) ? 1 : 0));

/** The value of a hexadecimal digit; 255 for any other byte. */
export const HEX = table((byte) => {
  const value = Number.parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(value) ? 255 : value;
});

export function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

export function isSpace(byte: number): boolean {
  return byte === Byte.SP || byte === Byte.HTAB;
}

/** Whether the token buf[start, end) spells `lower`, case-insensitively. Bytes that are no tchar never match. */
export function equalsToken(buf: Uint8Array, start: number, end: number, lower: Uint8Array): boolean {
  if (end - start !== lower.length) return false;
  for (let i = 0; i < lower.length; i++) if (TOKEN[buf[start + i]] !== lower[i]) return false;
  return true;
}
