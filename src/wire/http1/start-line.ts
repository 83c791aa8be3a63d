import { bytesOf, isDigit } from './byte-class.ts';

/** Bytes of `HTTP/1.1`. */
export const VERSION_BYTES = 8;

/** What `readVersion` says when it is not the minor version, 0 or 1. */
export const VersionFault = { INCOMPLETE: -1, MALFORMED: -2, UNSUPPORTED: -3 } as const;

const PREFIX = bytesOf('HTTP/');
const DOT = 0x2e;

/**
 * The minor version of `HTTP/1.0` or `HTTP/1.1` at buf[p], or a VersionFault. Case-sensitive (RFC 9112 §2.3). UNSUPPORTED is any other
 * `HTTP/d.d`, later minor versions of HTTP/1 too: there are none, so who sends one does not speak what we know.
 */
export function readVersion(buf: Uint8Array, p: number, bound: number): number {
  if (
    bound - p >= VERSION_BYTES &&
    buf[p] === 0x48 &&
    buf[p + 1] === 0x54 &&
    buf[p + 2] === 0x54 &&
    buf[p + 3] === 0x50 &&
    buf[p + 4] === 0x2f &&
    buf[p + 5] === 0x31 &&
    buf[p + 6] === DOT &&
    (buf[p + 7] === 0x31 || buf[p + 7] === 0x30)
  )
    return buf[p + 7] - 0x30;
  return versionFault(buf, p, bound);
}

function versionFault(buf: Uint8Array, start: number, bound: number): number {
  for (let i = 0; i < VERSION_BYTES; i++) {
    if (start + i === bound) return VersionFault.INCOMPLETE;
    const byte = buf[start + i];
    const isRight = i < PREFIX.length ? byte === PREFIX[i] : i === 6 ? byte === DOT : isDigit(byte);
    if (!isRight) return VersionFault.MALFORMED;
  }
  return VersionFault.UNSUPPORTED;
}

/** Whether buf[start, end) begins with `lower`, without regard to the case of its letters. The bytes are visible ASCII. */
export function beginsWith(buf: Uint8Array, start: number, end: number, lower: Uint8Array): boolean {
  if (end - start < lower.length) return false;
  for (let i = 0; i < lower.length; i++) if ((buf[start + i] | 0x20) !== lower[i]) return false;
  return true;
}
