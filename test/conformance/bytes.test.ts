import { describe, expect, it } from 'vitest';
import { viewBody, viewRequest, viewResponse } from './messages.ts';

/** The grammar said again, by regular expressions, apart from the tables of the reader. */
const TCHAR = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]$/;
const FIELD_BYTE = /^[\t\x20-\x7e\x80-\xff]$/;
const TARGET_BYTE = /^[!-"$-~]$/;

const BYTES = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte));
const read = (text: string) => viewRequest(Buffer.from(text, 'latin1')).outcome === 'complete';
const readResponse = (text: string) => viewResponse(Buffer.from(text, 'latin1')).outcome === 'complete';
/** The bytes with which `accepts` holds, for a message a difference is short in. */
const accepted = (accepts: (byte: string) => boolean) => BYTES.filter(accepts).map((byte) => byte.charCodeAt(0));
const matching = (pattern: RegExp) => accepted((byte) => pattern.test(byte));

describe('each of the 256 bytes', () => {
  it('is part of a method if it is a tchar', () => {
    expect(accepted((byte) => read(`G${byte}T / HTTP/1.1\r\nHost: a\r\n\r\n`))).toEqual(matching(TCHAR));
  });

  it('is part of a target if it is visible ASCII other than #', () => {
    expect(accepted((byte) => read(`GET /${byte} HTTP/1.1\r\nHost: a\r\n\r\n`))).toEqual(matching(TARGET_BYTE));
    expect(accepted((byte) => read(`GET /?${byte} HTTP/1.1\r\nHost: a\r\n\r\n`))).toEqual(matching(TARGET_BYTE));
  });

  it('is part of a field name if it is a tchar', () => {
    // A colon ends the name: what follows is part of the value.
    const expected = [...matching(TCHAR), 0x3a].sort((a, b) => a - b);
    expect(accepted((byte) => read(`GET / HTTP/1.1\r\nHost: a\r\nx${byte}y: b\r\n\r\n`))).toEqual(expected);
    expect(accepted((byte) => readResponse(`HTTP/1.1 200 OK\r\nx${byte}y: b\r\n\r\n`))).toEqual(expected);
    expect(
      accepted((byte) => viewBody(Buffer.from(`0\r\nx${byte}y: b\r\n\r\n`, 'latin1')).outcome === 'complete'),
    ).toEqual(expected);
  });

  it('is part of a field value if it is HTAB, SP, visible or above 0x7f', () => {
    for (const filling of ['', 'v'.repeat(1499), '~'.repeat(1502), '\xff'.repeat(1505)])
      expect(accepted((byte) => read(`GET / HTTP/1.1\r\nHost: a\r\nx: ${filling}v${byte}v${filling}\r\n\r\n`))).toEqual(
        matching(FIELD_BYTE),
      );
    expect(accepted((byte) => readResponse(`HTTP/1.1 200 OK\r\nx: v${byte}v\r\n\r\n`))).toEqual(matching(FIELD_BYTE));
    expect(
      accepted((byte) => viewBody(Buffer.from(`0\r\nx: v${byte}v\r\n\r\n`, 'latin1')).outcome === 'complete'),
    ).toEqual(matching(FIELD_BYTE));
  });

  it('is part of a reason phrase if it is HTAB, SP, visible or above 0x7f', () => {
    expect(accepted((byte) => readResponse(`HTTP/1.1 200 O${byte}K\r\n\r\n`))).toEqual(matching(FIELD_BYTE));
  });

  it('is part of a host name if it is a letter, a digit or one of -._~', () => {
    // A colon begins the port: "a:" and "a:1" are valid, "a:b" is not.
    expect(accepted((byte) => read(`GET / HTTP/1.1\r\nHost: a${byte}b\r\n\r\n`))).toEqual(matching(/^[\w\-.~]$/));
  });

  it('is a chunk size if it is a hexadecimal digit', () => {
    const body = (byte: string) =>
      `${byte}\r\n${'x'.repeat(Number.parseInt(byte, 16) || 0)}${byte === '0' ? '' : '\r\n0\r\n'}\r\n`;
    expect(accepted((byte) => viewBody(Buffer.from(body(byte), 'latin1')).outcome === 'complete')).toEqual(
      matching(/^[0-9a-fA-F]$/),
    );
  });

  it('ends no line unless it is CRLF', () => {
    for (const end of BYTES.flatMap((byte) => [byte, `${byte}\n`, `\r${byte}`, `${byte}${byte}`]).filter(
      (one) => one !== '\r\n',
    )) {
      expect(
        viewRequest(Buffer.from(`GET / HTTP/1.1${end}Host: a\r\n\r\n`, 'latin1')).outcome,
        JSON.stringify(end),
      ).toBe('error');
      expect(
        viewRequest(Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\n${end}`, 'latin1')).outcome,
        JSON.stringify(end),
      ).not.toBe('complete');
    }
  });
});
