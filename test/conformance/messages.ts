import { type ChunkedLimits, ChunkedReader, ChunkedStatus } from '../../src/wire/http1/chunked-reader.ts';
import { Field } from '../../src/wire/http1/field.ts';
import { OFFSETS_PER_LINE } from '../../src/wire/http1/field-section.ts';
import { type HeadLimits, HeadStatus } from '../../src/wire/http1/head-status.ts';
import { RequestHead, TargetForm } from '../../src/wire/http1/request-head.ts';
import { ResponseHead } from '../../src/wire/http1/response-head.ts';

/** What the corpora are read with unless a case says otherwise. */
export const LIMITS: HeadLimits = { headBytes: 4096, headers: 20, target: 1024 };
export const CHUNKED_LIMITS: ChunkedLimits = { extensionBytes: 64, trailerBytes: 256, trailers: 4 };

const FORMS = Object.keys(TargetForm).map((form) => form.toLowerCase());
const FIELDS = Object.keys(Field);

/** A header line as read: name, value, and the word of its kind (OTHER too). */
export type Line = readonly [name: string, value: string, kind: string];

export interface RequestView {
  readonly outcome: 'complete';
  readonly end: number;
  readonly method: string;
  readonly target: string;
  readonly form: string;
  readonly path: string;
  readonly query: string;
  readonly minor: number;
  readonly host: string;
  readonly contentLength: number;
  readonly chunked: boolean;
  readonly keepAlive: boolean;
  readonly upgrade: boolean;
  readonly expectContinue: boolean;
  readonly lines: readonly Line[];
}

export interface ResponseView {
  readonly outcome: 'complete';
  readonly end: number;
  readonly status: number;
  readonly minor: number;
  readonly reason: string;
  readonly contentLength: number;
  readonly chunked: boolean;
  readonly keepAlive: boolean;
  readonly upgrade: boolean;
  readonly keepAliveTimeoutS: number;
  readonly retryAfterS: number;
  readonly lines: readonly Line[];
}

export interface Refusal {
  readonly outcome: 'error';
  readonly status: number;
  readonly reason: string;
  readonly detail: string;
}

export interface Unfinished {
  readonly outcome: 'incomplete';
}

export interface BodyView {
  readonly outcome: 'complete' | 'incomplete' | 'error';
  readonly payload: string;
  readonly consumed: number;
  readonly trailers: string;
  readonly detail: string;
}

interface Fed {
  readonly status: HeadStatus;
  readonly buf: Buffer;
  readonly start: number;
}

/**
 * Gives the first `end` bytes to a reader for each of `ends`, every time in another buffer at another offset, until it has enough. What lies
 * around the bytes would change the result if it were looked at.
 */
function feed(head: RequestHead | ResponseHead, bytes: Buffer, ends: readonly number[]): Fed {
  let fed: Fed = { status: HeadStatus.INCOMPLETE, buf: bytes, start: 0 };
  for (let i = 0; i < ends.length && fed.status === HeadStatus.INCOMPLETE; i++) {
    const start = (i * 7) % 13;
    const buf = Buffer.concat([Buffer.alloc(start, 'x'), bytes.subarray(0, ends[i]), Buffer.from('\r\n\r\n')]);
    fed = { status: head.read(buf, start, start + ends[i]), buf, start };
  }
  return fed;
}

function linesOf(head: RequestHead | ResponseHead, buf: Buffer): Line[] {
  return Array.from({ length: head.headerCount }, (_, i) => {
    const [nameStart, nameEnd, valueStart, valueEnd, lineEnd] = head.offsets.subarray(i * OFFSETS_PER_LINE);
    const line = buf.toString('latin1', nameStart, lineEnd);
    const name = buf.toString('latin1', nameStart, nameEnd);
    const value = buf.toString('latin1', valueStart, valueEnd);
    if (line.replace(/:[ \t]*/, ':').replace(/[ \t]*\r\n$/, '') !== `${name}:${value}`)
      throw new Error(`offsets do not fit the line ${JSON.stringify(line)}`);
    return [name, value, FIELDS[head.kinds[i]]] as const;
  });
}

function refusalOf(head: RequestHead): Refusal {
  return { outcome: 'error', status: head.errorStatus, reason: head.errorReason, detail: head.errorDetail };
}

export function viewRequest(
  bytes: Buffer,
  ends: readonly number[] = [bytes.length],
  limits = LIMITS,
  head = new RequestHead(limits),
): RequestView | Refusal | Unfinished {
  const { status, buf, start } = feed(head, bytes, ends);
  if (status === HeadStatus.INCOMPLETE) return { outcome: 'incomplete' };
  if (status === HeadStatus.ERROR) return refusalOf(head);
  return {
    outcome: 'complete',
    end: head.end - start,
    method: buf.toString('latin1', head.methodStart, head.methodEnd),
    target: buf.toString('latin1', head.targetStart, head.targetEnd),
    form: FORMS[head.form],
    path: buf.toString('latin1', head.pathStart, head.pathEnd),
    query: buf.toString('latin1', head.queryStart, head.queryEnd),
    minor: head.minor,
    host: buf.toString('latin1', head.hostStart, head.hostEnd),
    contentLength: head.contentLength,
    chunked: head.chunked,
    keepAlive: head.keepAlive,
    upgrade: head.upgrade,
    expectContinue: head.expectContinue,
    lines: linesOf(head, buf),
  };
}

export function viewResponse(
  bytes: Buffer,
  ends: readonly number[] = [bytes.length],
  limits = LIMITS,
  head = new ResponseHead(limits),
): ResponseView | Pick<Refusal, 'outcome' | 'detail'> | Unfinished {
  const { status, buf, start } = feed(head, bytes, ends);
  if (status === HeadStatus.INCOMPLETE) return { outcome: 'incomplete' };
  if (status === HeadStatus.ERROR) return { outcome: 'error', detail: head.errorDetail };
  return {
    outcome: 'complete',
    end: head.end - start,
    status: head.status,
    minor: head.minor,
    reason: buf.toString('latin1', head.reasonStart, head.reasonEnd),
    contentLength: head.contentLength,
    chunked: head.chunked,
    keepAlive: head.keepAlive,
    upgrade: head.upgrade,
    keepAliveTimeoutS: head.keepAliveTimeoutS,
    retryAfterS: head.retryAfterS,
    lines: linesOf(head, buf),
  };
}

/** Reads a chunked body in pieces that end at `ends`. */
export function viewBody(
  bytes: Buffer,
  ends: readonly number[] = [bytes.length],
  reader = new ChunkedReader(CHUNKED_LIMITS),
): BodyView {
  let payload = '';
  let consumed = 0;
  const sink = {
    onChunkData(buf: Buffer, start: number, end: number) {
      payload += buf.toString('latin1', start, end);
    },
  };
  reader.reset();
  for (const end of ends) {
    // A buffer of its own for each piece, with bytes behind the end that must not be looked at.
    const piece = Buffer.concat([bytes.subarray(consumed, end), Buffer.from('0\r\n\r\n')]);
    consumed += reader.read(piece, 0, end - consumed, sink);
    if (reader.status !== ChunkedStatus.MORE) break;
  }
  const outcome = (['incomplete', 'complete', 'error'] as const)[reader.status];
  return { outcome, payload, consumed, trailers: reader.trailers, detail: reader.errorDetail };
}
