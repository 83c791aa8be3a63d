import { HEX } from '../wire/http1/byte-class.ts';

/** Bytes with a part in paths. */
export const SLASH = 0x2f;
export const DOT = 0x2e;
export const PERCENT = 0x25;
export const BACKSLASH = 0x5c;
export const SEMICOLON = 0x3b;

/** Value of two hex digits, -1 when they are none. */
export function hexPair(high: number, low: number): number {
  return HEX[high] > 15 || HEX[low] > 15 ? -1 : HEX[high] * 16 + HEX[low];
}

/** Where the `.` or `..` ends that the segment bytes[start, end) begins with; -1 when it begins with neither. */
export function dotsEnd(bytes: Buffer, start: number, end: number): number {
  if (end === start || bytes[start] !== DOT) return -1;
  return bytes[start + 1] === DOT && start + 1 < end ? start + 2 : start + 1;
}
