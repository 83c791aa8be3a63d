import { Field } from '../../wire/http1/field.ts';
import type { ResponseHead } from '../../wire/http1/response-head.ts';
import type { ByteWriter } from '../byte-writer.ts';
import { copyKind, copyLines } from './copy-lines.ts';
import type { HeaderEdits } from './header-edits.ts';
import type { Via } from './via.ts';

const VERSION = Buffer.from('HTTP/1.1 ');
const TUNNEL_OPEN = Buffer.from('HTTP/1.1 200 Connection Established\r\n');
const CRLF = Buffer.from('\r\n');
const CHUNKED = Buffer.from('transfer-encoding: chunked\r\n');
const LENGTH = Buffer.from('content-length: ');
const CLOSE = Buffer.from('connection: close\r\n');
const KEEP_ALIVE = Buffer.from('connection: keep-alive\r\n');
const UPGRADE = Buffer.from('connection: Upgrade\r\n');

/** Fields of the endpoint's that end at this hop (RFC 9110 §7.6.1), or that we write ourselves. */
const CUT = new Uint8Array(64);
for (const field of [
  Field.CONNECTION,
  Field.KEEP_ALIVE,
  Field.PROXY_CONNECTION,
  Field.PROXY_AUTHENTICATE,
  Field.PROXY_AUTHENTICATION_INFO,
  Field.TRANSFER_ENCODING,
  Field.CONTENT_LENGTH,
  Field.UPGRADE,
  Field.X_EVENKEEL,
  Field.NAMED_BY_CONNECTION,
])
  CUT[field] = 1;

/** How the body reaches the client. */
export const BodyFraming = { NONE: 0, LENGTH: 1, CHUNKED: 2, UNTIL_CLOSE: 3 } as const;
export type BodyFraming = (typeof BodyFraming)[keyof typeof BodyFraming];

/** What the `connection` header says to the client. */
export const Persistence = { DEFAULT: 0, CLOSE: 1, KEEP_ALIVE: 2, UPGRADE: 3 } as const;
export type Persistence = (typeof Persistence)[keyof typeof Persistence];

/** Appends the head for the client, written from the head that was read. Status, reason phrase, order, case and repeats stay. */
export function writeResponseHead(
  writer: ByteWriter,
  head: ResponseHead,
  buf: Buffer,
  framing: BodyFraming,
  persistence: Persistence,
  edits: HeaderEdits,
  via: Via | null,
): void {
  writer.piece(VERSION);
  writer.number(head.status, 10);
  writer.text(' ');
  writer.bytes(buf, head.reasonStart, head.reasonEnd);
  writer.piece(CRLF);
  copyLines(writer, head, buf, CUT, edits);
  if (framing === BodyFraming.CHUNKED) writer.piece(CHUNKED);
  else if (
    head.contentLength >= 0 &&
    framing !== BodyFraming.UNTIL_CLOSE &&
    head.status >= 200 &&
    head.status !== 204
  ) {
    writer.piece(LENGTH);
    writer.number(head.contentLength, 10);
    writer.piece(CRLF);
  }
  if (persistence === Persistence.CLOSE) writer.piece(CLOSE);
  else if (persistence === Persistence.KEEP_ALIVE) writer.piece(KEEP_ALIVE);
  else if (persistence === Persistence.UPGRADE) {
    writer.piece(UPGRADE);
    copyKind(writer, head, buf, Field.UPGRADE);
  }
  if (via !== null) writer.piece(via.line(head.minor));
  writeEdits(writer, edits);
  writer.piece(CRLF);
}

/** Appends the head that opens a tunnel by CONNECT: no framing, no content (RFC 9110 §9.3.6). */
export function writeTunnelHead(writer: ByteWriter, edits: HeaderEdits, via: Via | null): void {
  writer.piece(TUNNEL_OPEN);
  if (via !== null) writer.piece(via.line(1));
  writeEdits(writer, edits);
  writer.piece(CRLF);
}

function writeEdits(writer: ByteWriter, edits: HeaderEdits): void {
  if (edits.size > 0) edits.forEach((name, value) => writer.text(`${name}: ${value}\r\n`));
}
