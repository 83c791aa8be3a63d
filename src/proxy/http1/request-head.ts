import { Field } from '../../wire/http1/field.ts';
import { Method } from '../../wire/http1/method.ts';
import { type RequestHead, TargetForm } from '../../wire/http1/request-head.ts';
import type { ByteWriter } from '../byte-writer.ts';
import { copyKind, copyLines } from './copy-lines.ts';
import type { HeaderEdits } from './header-edits.ts';

const VERSION = Buffer.from(' HTTP/1.1\r\n');
const CRLF = Buffer.from('\r\n');
const HOST = Buffer.from('Host: ');
const CONNECTION_UPGRADE = Buffer.from('Connection: Upgrade\r\n');
const TE_TRAILERS = Buffer.from('TE: trailers\r\n');
const CHUNKED = Buffer.from('Transfer-Encoding: chunked\r\n');
const LENGTH = Buffer.from('Content-Length: ');
const FOR = Buffer.from('X-Forwarded-For: ');
const PROTO_HTTP = Buffer.from('X-Forwarded-Proto: http\r\n');
const PROTO_HTTPS = Buffer.from('X-Forwarded-Proto: https\r\n');
const FORWARDED_HOST = Buffer.from('X-Forwarded-Host: ');
const REAL_IP = Buffer.from('X-Real-IP: ');
const ATTEMPT = Buffer.from('X-Evenkeel-Attempt: ');

/** Fields of the client's that are never forwarded as they came: hop-by-hop (RFC 9110 §7.6.1), framing, and our own. */
const CUT = new Uint8Array(64);
for (const field of [
  Field.HOST,
  Field.CONNECTION,
  Field.KEEP_ALIVE,
  Field.PROXY_CONNECTION,
  Field.PROXY_AUTHORIZATION,
  Field.TE,
  Field.TRANSFER_ENCODING,
  Field.CONTENT_LENGTH,
  Field.UPGRADE,
  Field.X_EVENKEEL,
  Field.LOOKALIKE,
  Field.NAMED_BY_CONNECTION,
])
  CUT[field] = 1;

/** Cut as well when the peer is not trusted to say where the client is. X-Forwarded-For is always written anew. */
export const CUT_UNTRUSTED = CUT.slice();
for (const field of [
  Field.X_FORWARDED_FOR,
  Field.X_FORWARDED_PROTO,
  Field.X_FORWARDED_HOST,
  Field.X_FORWARDED_PORT,
  Field.X_FORWARDED_MORE,
  Field.FORWARDED,
  Field.X_REAL_IP,
])
  CUT_UNTRUSTED[field] = 1;
export const CUT_TRUSTED = CUT.slice();
CUT_TRUSTED[Field.X_FORWARDED_FOR] = 1;
CUT_TRUSTED[Field.FORWARDED] = 1;

/** What decides how a request head is forwarded, besides the head itself. */
export interface ForwardOptions {
  /** The peer's address. */
  readonly peerAddress: string;
  /** Whether the peer is in `trustForwarded`. */
  readonly trusted: boolean;
  readonly secure: boolean;
  /** Host line to send instead of the client's, or null. */
  readonly host: string | null;
  /** 1 for the first attempt. */
  readonly attempt: number;
  /** The request goes on as a protocol switch. */
  readonly upgrade: boolean;
  /** The line that is added to Via, or null. */
  readonly via: Buffer | null;
  readonly edits: HeaderEdits;
}

/**
 * Writes the head for an endpoint from the head that was read: the request line and the lines that may pass as they came, in their order,
 * everything that frames, routes or names the client written anew (RFC 9112 §3, RFC 9110 §7.6).
 */
export function writeRequestHead(writer: ByteWriter, head: RequestHead, buf: Buffer, options: ForwardOptions): void {
  writer.begin();
  writer.bytes(buf, head.methodStart, head.methodEnd);
  writer.text(' ');
  writeTarget(writer, head, buf);
  writer.piece(VERSION);
  writer.piece(HOST);
  if (options.host !== null) writer.text(options.host);
  else writer.bytes(buf, head.hostStart, head.hostEnd);
  writer.piece(CRLF);
  copyLines(writer, head, buf, options.trusted ? CUT_TRUSTED : CUT_UNTRUSTED, options.edits);
  writeFraming(writer, head, buf, options);
  writeClient(writer, head, buf, options);
  if (options.via !== null) writer.piece(options.via);
  if (options.attempt > 1) {
    writer.piece(ATTEMPT);
    writer.number(options.attempt, 10);
    writer.piece(CRLF);
  }
  if (options.edits.size > 0) options.edits.forEach((name, value) => writer.text(`${name}: ${value}\r\n`));
  writer.piece(CRLF);
}

/** Origin-form always (RFC 9112 §3.2.1); an absolute-form target gives its path and query, `*` stays (§3.2.4: and is what OPTIONS without a path means). */
function writeTarget(writer: ByteWriter, head: RequestHead, buf: Buffer): void {
  if (head.form !== TargetForm.ABSOLUTE) {
    writer.bytes(buf, head.targetStart, head.targetEnd);
    return;
  }
  const isWhole = head.method === Method.OPTIONS && head.queryEnd === head.queryStart;
  if (head.pathStart === head.pathEnd) writer.text(isWhole ? '*' : '/');
  else writer.bytes(buf, head.pathStart, head.pathEnd);
  if (head.queryEnd > head.queryStart) {
    writer.text('?');
    writer.bytes(buf, head.queryStart, head.queryEnd);
  }
}

function writeFraming(writer: ByteWriter, head: RequestHead, buf: Buffer, options: ForwardOptions): void {
  if (head.chunked) writer.piece(CHUNKED);
  else if (head.contentLength >= 0) {
    writer.piece(LENGTH);
    writer.number(head.contentLength, 10);
    writer.piece(CRLF);
  }
  if (options.upgrade) {
    writer.piece(CONNECTION_UPGRADE);
    copyKind(writer, head, buf, Field.UPGRADE);
  } else if (saysTrailers(head, buf)) {
    writer.piece(TE_TRAILERS);
  }
}

/** `TE: trailers` is the one transfer parameter that may pass (RFC 9110 §10.1.4). */
function saysTrailers(head: RequestHead, buf: Buffer): boolean {
  for (let i = 0; i < head.headerCount; i++) {
    if (head.kinds[i] !== Field.TE) continue;
    if (/(^|,)\s*trailers\s*(,|$)/i.test(buf.toString('latin1', head.offsets[i * 5 + 2], head.offsets[i * 5 + 3])))
      return true;
  }
  return false;
}

/** Where the client is: appended to what a trusted peer says, else only what we see ourselves. What a middleware says of it counts instead. */
function writeClient(writer: ByteWriter, head: RequestHead, buf: Buffer, options: ForwardOptions): void {
  const { trusted, edits } = options;
  if (!edits.has('x-forwarded-for')) {
    writer.piece(FOR);
    if (trusted) appendKind(writer, head, buf, Field.X_FORWARDED_FOR);
    writer.text(options.peerAddress);
    writer.piece(CRLF);
  }
  if ((!trusted || !hasKind(head, Field.X_FORWARDED_PROTO)) && !edits.has('x-forwarded-proto'))
    writer.piece(options.secure ? PROTO_HTTPS : PROTO_HTTP);
  if ((!trusted || !hasKind(head, Field.X_FORWARDED_HOST)) && !edits.has('x-forwarded-host'))
    writeForwardedHost(writer, head, buf);
  if (!trusted && hasKind(head, Field.X_REAL_IP) && !edits.has('x-real-ip')) {
    writer.piece(REAL_IP);
    writer.text(options.peerAddress);
    writer.piece(CRLF);
  }
  if (hasKind(head, Field.FORWARDED) && !edits.has('forwarded')) writeForwarded(writer, head, buf, options);
}

function writeForwardedHost(writer: ByteWriter, head: RequestHead, buf: Buffer): void {
  if (head.hostEnd === head.hostStart) return;
  writer.piece(FORWARDED_HOST);
  writer.bytes(buf, head.hostStart, head.hostEnd);
  writer.piece(CRLF);
}

/** RFC 7239 §4: only where the client's side uses it at all. */
function writeForwarded(writer: ByteWriter, head: RequestHead, buf: Buffer, options: ForwardOptions): void {
  writer.text('Forwarded: ');
  if (options.trusted) appendKind(writer, head, buf, Field.FORWARDED);
  const address = options.peerAddress.includes(':') ? `"[${options.peerAddress}]"` : options.peerAddress;
  writer.text(`for=${address};proto=${options.secure ? 'https' : 'http'}\r\n`);
}

/** All values of this kind, each with a comma behind. */
function appendKind(writer: ByteWriter, head: RequestHead, buf: Buffer, kind: number): void {
  for (let i = 0; i < head.headerCount; i++) {
    if (head.kinds[i] !== kind || head.offsets[i * 5 + 3] === head.offsets[i * 5 + 2]) continue;
    writer.bytes(buf, head.offsets[i * 5 + 2], head.offsets[i * 5 + 3]);
    writer.text(', ');
  }
}

function hasKind(head: RequestHead, kind: number): boolean {
  for (let i = 0; i < head.headerCount; i++) if (head.kinds[i] === kind) return true;
  return false;
}
