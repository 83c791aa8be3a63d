/** Where the hash of a sequence of bytes begins (FNV-1a, 32 bit). */
export const HASH_START = 0x811c9dc5 | 0;

/** The hash with one byte more. */
export function hashByte(state: number, byte: number): number {
  return Math.imul(state ^ byte, 0x01000193);
}

/** The hash with the bytes of buf[start, end) more. */
export function hashBytes(state: number, buf: Uint8Array, start: number, end: number): number {
  let hash = state;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ buf[i], 0x01000193);
  return hash;
}

/** Hash of a text of one byte a character, such as an address: the same as that of its bytes. */
export function hashText(text: string): number {
  let hash = HASH_START;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ (text.charCodeAt(i) & 0xff), 0x01000193);
  return hash;
}

/** Lets every bit of a 32-bit integer turn on every other one (the finaliser of MurmurHash3); one to one. 0…2³²−1. */
export function mixBits(value: number): number {
  let bits = value ^ (value >>> 16);
  bits = Math.imul(bits, 0x85ebca6b);
  bits ^= bits >>> 13;
  bits = Math.imul(bits, 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

/** A finished hash as schedulers take it: 1…2³¹−1, 0 being "no key". The same for the same bytes on every thread and machine. */
export function keyOfHash(state: number): number {
  return mixBits(state) & 0x7fffffff || 1;
}
