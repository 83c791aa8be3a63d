import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChunkedReader } from '../../src/wire/http1/chunked-reader.ts';
import { RequestHead } from '../../src/wire/http1/request-head.ts';
import { ResponseHead } from '../../src/wire/http1/response-head.ts';
import { BODIES } from './chunked-bodies.ts';
import { CHUNKED_LIMITS, LIMITS, viewBody, viewRequest, viewResponse } from './messages.ts';
import { REQUESTS } from './requests.ts';
import { RESPONSES } from './responses.ts';

const RUNS = 400;

/** Messages of a corpus with some bytes replaced, put in or cut out by ones that mean something in HTTP. */
function mutated(messages: readonly string[]): fc.Arbitrary<Buffer> {
  const pieces = [
    '\r',
    '\n',
    '\r\n',
    ' ',
    '\t',
    ':',
    ',',
    ';',
    '\0',
    '\x7f',
    '\xff',
    '0',
    'a',
    '/',
    '?',
    '[',
    '\r\n\r\n',
    'chunked',
    'Host: b\r\n',
  ];
  const edit = fc.record({ at: fc.nat(), cut: fc.nat(2), put: fc.constantFrom('', ...pieces) });
  return fc.tuple(fc.constantFrom(...messages), fc.array(edit, { maxLength: 3 })).map(([message, edits]) => {
    let text = message;
    for (const { at, cut, put } of edits) {
      const place = at % (text.length + 1);
      text = text.slice(0, place) + put + text.slice(place + cut);
    }
    return Buffer.from(text, 'latin1');
  });
}

/** Ends of reads: any subset of the offsets, in order, and the whole. */
function endsOf(bytes: Buffer, cuts: readonly number[]): number[] {
  const offsets = new Set(cuts.map((cut) => cut % (bytes.length + 1)));
  return [...offsets].sort((a, b) => a - b).concat(bytes.length);
}

const cuts = fc.array(fc.nat(), { maxLength: 8 });

describe('however the bytes are split into reads', () => {
  it('a request head is the same', () => {
    const head = new RequestHead(LIMITS);
    fc.assert(
      fc.property(mutated(REQUESTS.map((one) => one.bytes)), cuts, (bytes, at) => {
        head.reset();
        expect(viewRequest(bytes, endsOf(bytes, at), LIMITS, head)).toEqual(viewRequest(bytes));
      }),
      { numRuns: RUNS },
    );
  });

  it('a response head is the same', () => {
    const head = new ResponseHead(LIMITS);
    fc.assert(
      fc.property(mutated(RESPONSES.map((one) => one.bytes)), cuts, (bytes, at) => {
        head.reset();
        expect(viewResponse(bytes, endsOf(bytes, at), LIMITS, head)).toEqual(viewResponse(bytes));
      }),
      { numRuns: RUNS },
    );
  });

  it('a chunked body is the same', () => {
    const reader = new ChunkedReader(CHUNKED_LIMITS);
    fc.assert(
      fc.property(mutated(BODIES.map((one) => one.bytes)), cuts, (bytes, at) => {
        expect(viewBody(bytes, endsOf(bytes, at), reader)).toEqual(viewBody(bytes));
      }),
      { numRuns: RUNS },
    );
  });

  it('limits apply alike', () => {
    const limits = fc.record({ headBytes: fc.integer({ min: 1, max: 60 }), headers: fc.nat(3), target: fc.nat(6) });
    fc.assert(
      fc.property(mutated(REQUESTS.map((one) => one.bytes)), cuts, limits, (bytes, at, most) => {
        expect(viewRequest(bytes, endsOf(bytes, at), most)).toEqual(viewRequest(bytes, [bytes.length], most));
      }),
      { numRuns: RUNS },
    );
  });
});

describe('any payload', () => {
  it('comes out of its chunks as it went in', () => {
    const chunk = fc.uint8Array({ minLength: 1, maxLength: 300 });
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 6 }), cuts, (chunks, at) => {
        const framed = chunks.map((bytes) =>
          Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]),
        );
        const bytes = Buffer.concat([...framed, Buffer.from('0\r\n\r\n')]);
        const payload = Buffer.concat(chunks).toString('latin1');
        expect(viewBody(bytes, endsOf(bytes, at))).toMatchObject({
          outcome: 'complete',
          payload,
          consumed: bytes.length,
        });
      }),
      { numRuns: RUNS },
    );
  });
});
