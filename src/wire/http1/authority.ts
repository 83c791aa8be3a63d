import { Byte, HEX, HOST_NAME, isDigit, TOKEN } from './byte-class.ts';

const OPEN = 0x5b;
const CLOSE = 0x5d;
const DOT = 0x2e;

/**
 * Where the host name of `host[:port]` in buf[start, end) ends, brackets of an IPv6 address included; -1 when it is not valid.
 * Stricter than RFC 3986: the host must not be empty, a name holds letters, digits and `-._~` without empty labels (a final dot is
 * one), a bracketed address is IPv6 without a zone, a port is 1…65535 (an empty one, `host:`, is valid), no user information.
 */
export function readAuthority(buf: Uint8Array, start: number, end: number): number {
  const nameEnd = buf[start] === OPEN && start < end ? ipv6End(buf, start, end) : nameEndOf(buf, start, end);
  if (nameEnd < 0 || nameEnd === end) return nameEnd;
  return buf[nameEnd] === Byte.COLON && portOf(buf, nameEnd, end) >= 0 ? nameEnd : -1;
}

/** The port behind the ':' at buf[colon]; 0 when there is none or it is empty, -1 when it is not within 1…65535. */
export function portOf(buf: Uint8Array, colon: number, end: number): number {
  let port = 0;
  for (let p = colon + 1; p < end; p++) {
    if (!isDigit(buf[p])) return -1;
    port = port * 10 + buf[p] - 0x30;
    if (port > 65_535) return -1;
  }
  return port === 0 && end - colon > 1 ? -1 : port;
}

/** Whether two valid authorities are one, without regard to case and to the default port being spelt out. */
export function sameAuthority(
  buf: Uint8Array,
  start: number,
  end: number,
  otherStart: number,
  otherEnd: number,
  defaultPort: number,
): boolean {
  const nameEnd = readAuthority(buf, start, end);
  const otherNameEnd = readAuthority(buf, otherStart, otherEnd);
  if (nameEnd - start !== otherNameEnd - otherStart) return false;
  for (let p = start, q = otherStart; p < nameEnd; p++, q++) {
    // Brackets and colons of an IPv6 address are no tchar and fold to 0, hence the comparison of the bytes themselves.
    if (buf[p] !== buf[q] && (TOKEN[buf[p]] === 0 || TOKEN[buf[p]] !== TOKEN[buf[q]])) return false;
  }
  return (portOf(buf, nameEnd, end) || defaultPort) === (portOf(buf, otherNameEnd, otherEnd) || defaultPort);
}

function nameEndOf(buf: Uint8Array, start: number, end: number): number {
  let p = start;
  let previous: number = DOT;
  while (p < end && HOST_NAME[buf[p]] === 1) {
    if (buf[p] === DOT && previous === DOT) return -1;
    previous = buf[p++];
  }
  return p === start ? -1 : p;
}

/** RFC 4291 §2.2: eight groups, at most one `::`, the last two groups possibly as IPv4. */
function ipv6End(buf: Uint8Array, start: number, end: number): number {
  let p = start + 1;
  let groups = 0;
  let compressed = false;
  if (buf[p] === Byte.COLON) {
    if (buf[p + 1] !== Byte.COLON) return -1;
    compressed = true;
    p += 2;
  }
  while (p < end && buf[p] !== CLOSE) {
    const groupStart = p;
    while (p < end && HEX[buf[p]] !== 255) p++;
    if (p === groupStart || p - groupStart > 4) return -1;
    if (buf[p] === DOT) {
      p = ipv4End(buf, groupStart, end);
      groups += 2;
      break;
    }
    groups++;
    if (buf[p] !== Byte.COLON) break;
    p++;
    if (buf[p] === Byte.COLON) {
      if (compressed) return -1;
      compressed = true;
      p++;
    } else if (buf[p] === CLOSE) return -1;
  }
  if (p < 0 || p >= end || buf[p] !== CLOSE) return -1;
  return (compressed ? groups <= 7 : groups === 8) ? p + 1 : -1;
}

function ipv4End(buf: Uint8Array, start: number, end: number): number {
  let p = start;
  for (let octet = 0; octet < 4; octet++) {
    if (octet > 0 && buf[p++] !== DOT) return -1;
    const octetStart = p;
    let value = 0;
    while (p < end && isDigit(buf[p]) && p - octetStart < 3) value = value * 10 + buf[p++] - 0x30;
    if (p === octetStart || value > 255 || (buf[octetStart] === 0x30 && p - octetStart > 1)) return -1;
  }
  return p;
}
