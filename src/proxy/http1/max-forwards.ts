import { isDigit } from '../../wire/http1/byte-class.ts';
import { Field } from '../../wire/http1/field.ts';
import type { RequestHead } from '../../wire/http1/request-head.ts';

/** What `maxForwards` says besides a number: there is no such line, or it is not one decimal number. */
export const MaxForwards = { NONE: -1, INVALID: -2 } as const;

/** More hops than this are cut down to it (RFC 9110 §7.6.2). */
const MOST = 999_999;
/** What is told to a client that asks what can be done here. */
const ALLOW = 'GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS, TRACE';

/** How often a TRACE or OPTIONS may still be forwarded, or a MaxForwards. Asked for these two methods only: others may ignore the field (RFC 9110 §7.6.2). */
export function maxForwards(head: RequestHead, buf: Buffer): number {
  let found: number = MaxForwards.NONE;
  for (let i = 0; i < head.headerCount; i++) {
    if (head.kinds[i] !== Field.MAX_FORWARDS) continue;
    if (found !== MaxForwards.NONE) return MaxForwards.INVALID;
    found = numberAt(buf, head.offsets[i * 5 + 2], head.offsets[i * 5 + 3]);
    if (found === MaxForwards.INVALID) return found;
  }
  return found;
}

function numberAt(buf: Buffer, start: number, end: number): number {
  if (start === end) return MaxForwards.INVALID;
  let value = 0;
  for (let p = start; p < end; p++) {
    if (!isDigit(buf[p])) return MaxForwards.INVALID;
    value = Math.min(value * 10 + buf[p] - 0x30, MOST);
  }
  return value;
}

/** An answer in an endpoint's place. */
export interface LastHop {
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The answer to an OPTIONS that may go no further (RFC 9110 §9.3.7). */
export const OPTIONS_HERE: LastHop = { body: '', headers: { allow: ALLOW } };

/**
 * The answer to a TRACE that may go no further (RFC 9110 §9.3.8): the request line, and of the header only what a trace is for. Whoever
 * stands before us may have added what its clients must not see, and no list of names would know it all.
 */
export function traceHere(head: RequestHead, buf: Buffer): LastHop {
  let body = `${buf.toString('latin1', head.methodStart, head.targetEnd)} HTTP/1.${head.minor}\r\n`;
  for (let i = 0; i < head.headerCount; i++) {
    const kind = head.kinds[i];
    if (kind === Field.HOST || kind === Field.VIA || kind === Field.MAX_FORWARDS)
      body += buf.toString('latin1', head.offsets[i * 5], head.offsets[i * 5 + 4]);
  }
  return { body: `${body}\r\n`, headers: { 'content-type': 'message/http' } };
}
