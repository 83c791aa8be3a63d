import { isIPv4, isIPv6 } from 'node:net';

/** What is known of a PROXY protocol header after the bytes so far. */
export const ProxyStatus = { INCOMPLETE: 0, COMPLETE: 1, ERROR: 2 } as const;
export type ProxyStatus = (typeof ProxyStatus)[keyof typeof ProxyStatus];

/** Types of additional values (spec §2.2). */
export const Tlv = { ALPN: 1, AUTHORITY: 2, CRC32C: 3, NOOP: 4, UNIQUE_ID: 5 } as const;

/** One additional value of a version 2 header. */
export interface ProxyTlv {
  readonly type: number;
  readonly value: Buffer;
}

/** Who connected to whom, as the header says. Addresses without brackets; IPv4 ones never as `::ffff:…`. */
export interface ProxyHeader {
  readonly sourceAddress: string;
  readonly sourcePort: number;
  readonly destinationAddress: string;
  readonly destinationPort: number;
  readonly tlvs: readonly ProxyTlv[];
}

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const V1 = Buffer.from('PROXY ', 'latin1');
/** Spec §2.1: the longest version 1 line, with its CRLF. */
const V1_MAX = 107;
/** Of a version 2 header behind its first 16 bytes; the largest that anyone sends hold a certificate's names. */
const V2_MAX = 4096;
const PORT = /^(0|[1-9]\d{0,4})$/;
const UNIQUE_ID_MAX = 128;

/**
 * Reads a PROXY protocol header, version 1 or 2 (haproxy's proxy-protocol.txt). `read` is given everything that came so far, from the first byte. After
 * COMPLETE the header is `bytes[0, length)`; `header` is null where the sender speaks for itself (LOCAL) or does not know (UNKNOWN, UNSPEC).
 */
export class ProxyHeaderReader {
  length = 0;
  header: ProxyHeader | null = null;

  read(bytes: Buffer): ProxyStatus {
    if (startsLike(bytes, SIGNATURE)) return this.#readV2(bytes);
    if (startsLike(bytes, V1)) return this.#readV1(bytes);
    return ProxyStatus.ERROR;
  }

  #readV1(bytes: Buffer): ProxyStatus {
    const end = bytes.subarray(0, V1_MAX).indexOf('\r\n');
    if (end < 0) return bytes.length < V1_MAX ? ProxyStatus.INCOMPLETE : ProxyStatus.ERROR;
    this.length = end + 2;
    const line = bytes.toString('latin1', 0, end);
    if (line === 'PROXY UNKNOWN' || line.startsWith('PROXY UNKNOWN ')) return ProxyStatus.COMPLETE;
    const [, family, source, destination, sourcePort, destinationPort, ...rest] = line.split(' ');
    const isAddress = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isIPv6 : () => false;
    if (!isAddress(source ?? '') || !isAddress(destination ?? '') || rest.length > 0) return ProxyStatus.ERROR;
    if (!isPort(sourcePort) || !isPort(destinationPort)) return ProxyStatus.ERROR;
    this.header = {
      sourceAddress: unmapped(source),
      sourcePort: Number(sourcePort),
      destinationAddress: unmapped(destination),
      destinationPort: Number(destinationPort),
      tlvs: [],
    };
    return ProxyStatus.COMPLETE;
  }

  #readV2(bytes: Buffer): ProxyStatus {
    if (bytes.length > 12 && bytes[12] >> 4 !== 2) return ProxyStatus.ERROR;
    if (bytes.length > 12 && (bytes[12] & 0xf) > 1) return ProxyStatus.ERROR;
    if (bytes.length < 16) return ProxyStatus.INCOMPLETE;
    const length = bytes.readUInt16BE(14);
    if (length > V2_MAX) return ProxyStatus.ERROR;
    if (bytes.length < 16 + length) return ProxyStatus.INCOMPLETE;
    this.length = 16 + length;
    const isLocal = (bytes[12] & 0xf) === 0;
    const family = bytes[13];
    if (isLocal || family === 0) return ProxyStatus.COMPLETE;
    // TCP over IPv4 or IPv6; a UNIX socket has no address that anyone could use.
    if (family === 0x31) return length >= 216 ? ProxyStatus.COMPLETE : ProxyStatus.ERROR;
    if (family !== 0x11 && family !== 0x21) return ProxyStatus.ERROR;
    return this.#readAddresses(bytes.subarray(16, 16 + length), family === 0x11 ? 4 : 16);
  }

  #readAddresses(bytes: Buffer, size: number): ProxyStatus {
    const tlvsAt = size * 2 + 4;
    if (bytes.length < tlvsAt) return ProxyStatus.ERROR;
    const tlvs = readTlvs(bytes.subarray(tlvsAt));
    if (tlvs === null) return ProxyStatus.ERROR;
    this.header = {
      sourceAddress: addressText(bytes.subarray(0, size)),
      destinationAddress: addressText(bytes.subarray(size, size * 2)),
      sourcePort: bytes.readUInt16BE(size * 2),
      destinationPort: bytes.readUInt16BE(size * 2 + 2),
      tlvs,
    };
    return ProxyStatus.COMPLETE;
  }
}

/** Whether the bytes so far can become something that begins so. */
function startsLike(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.compare(start, 0, length, 0, length) === 0;
}

function isPort(text: string | undefined): boolean {
  return text !== undefined && PORT.test(text) && Number(text) <= 65_535;
}

function readTlvs(bytes: Buffer): ProxyTlv[] | null {
  const tlvs: ProxyTlv[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (at + 3 > bytes.length) return null;
    const end = at + 3 + bytes.readUInt16BE(at + 1);
    if (end > bytes.length) return null;
    const value = Buffer.from(bytes.subarray(at + 3, end));
    if (bytes[at] === Tlv.UNIQUE_ID && value.length > UNIQUE_ID_MAX) return null;
    tlvs.push({ type: bytes[at], value });
    at = end;
  }
  return tlvs;
}

function addressText(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16));
  const isMapped = groups.slice(0, 5).every((group) => group === '0') && groups[5] === 'ffff';
  return isMapped ? bytes.subarray(12).join('.') : compressed(groups);
}

/** RFC 5952 §4.2: the first of the longest runs of zeros becomes `::`. */
function compressed(groups: readonly string[]): string {
  const runs = [...groups.join(':').matchAll(/(?<![0-9a-f])0(:0)+(?![0-9a-f])/g)];
  if (runs.length === 0) return groups.join(':');
  const longest = runs.reduce((best, run) => (run[0].length > best[0].length ? run : best));
  const text = groups.join(':');
  const before = text.slice(0, longest.index).replace(/:$/, '');
  const after = text.slice(longest.index + longest[0].length).replace(/^:/, '');
  return `${before}::${after}`;
}

/** `::ffff:1.2.3.4` as 1.2.3.4. */
export function unmapped(address: string): string {
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/i.test(address) ? address.slice(7) : address;
}

/** The bytes of a header. Null: who sends speaks for itself. Of two families the IPv4 address goes as `::ffff:…`. */
export function formatProxyHeader(version: 'v1' | 'v2', header: ProxyHeader | null): Buffer {
  return version === 'v1' ? formatV1(header) : formatV2(header);
}

function formatV1(header: ProxyHeader | null): Buffer {
  if (header === null) return Buffer.from('PROXY UNKNOWN\r\n', 'latin1');
  const { sourceAddress, destinationAddress, sourcePort, destinationPort } = header;
  const isV4 = isIPv4(sourceAddress) && isIPv4(destinationAddress);
  const text = (address: string) => (!isV4 && isIPv4(address) ? `::ffff:${address}` : address);
  const addresses = `${text(sourceAddress)} ${text(destinationAddress)} ${sourcePort} ${destinationPort}`;
  return Buffer.from(`PROXY ${isV4 ? 'TCP4' : 'TCP6'} ${addresses}\r\n`, 'latin1');
}

function formatV2(header: ProxyHeader | null): Buffer {
  if (header === null) return Buffer.concat([SIGNATURE, Buffer.from([0x20, 0, 0, 0])]);
  const { sourceAddress, destinationAddress, sourcePort, destinationPort, tlvs } = header;
  const isV4 = isIPv4(sourceAddress) && isIPv4(destinationAddress);
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(sourcePort, 0);
  ports.writeUInt16BE(destinationPort, 2);
  const addresses = [sourceAddress, destinationAddress].map((one) => (isV4 ? v4Bytes(one) : v6Bytes(one)));
  const values = tlvs.map(({ type, value }) =>
    Buffer.concat([Buffer.from([type, value.length >> 8, value.length & 255]), value]),
  );
  const rest = Buffer.concat([...addresses, ports, ...values]);
  const fixed = Buffer.from([0x21, isV4 ? 0x11 : 0x21, rest.length >> 8, rest.length & 255]);
  return Buffer.concat([SIGNATURE, fixed, rest]);
}

function v4Bytes(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}

function v6Bytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.concat([Buffer.alloc(10), Buffer.from([255, 255]), v4Bytes(address)]);
  const plain = address
    .split('%')[0]
    .replace(/\d+\.\d+\.\d+\.\d+$/, (v4) => v4Bytes(v4).toString('hex').replace(/^..../, '$&:'));
  const [head, tail] = plain.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const missing = tail === undefined ? 0 : 8 - head.length - tail.length;
  const groups = [...head, ...new Array(missing).fill('0'), ...(tail ?? [])];
  return Buffer.from(groups.map((group) => group.padStart(4, '0')).join(''), 'hex');
}
