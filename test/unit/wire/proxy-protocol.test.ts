import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatProxyHeader,
  type ProxyHeader,
  ProxyHeaderReader,
  ProxyStatus,
} from '../../../src/wire/proxy-protocol.ts';

const read = (bytes: Buffer | string) => {
  const reader = new ProxyHeaderReader();
  const status = reader.read(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  return { status, length: reader.length, header: reader.header };
};
const v2 = (rest: number[]) => Buffer.concat([Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1'), Buffer.from(rest)]);

const port = fc.integer({ min: 0, max: 65_535 });
const tlvs = fc.array(
  fc.record({
    type: fc.constantFrom(1, 2, 5, 0xe0),
    value: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  }),
  { maxLength: 4 },
);
const header = (address: fc.Arbitrary<string>) =>
  fc.record({ sourceAddress: address, destinationAddress: address, sourcePort: port, destinationPort: port, tlvs });
// What RFC 5952 would write: a random address hardly ever has a run of zeros, so some are put in.
const v6 = fc
  .array(fc.constantFrom('0', '0', '1', 'ab', 'ffff'), { minLength: 8, maxLength: 8 })
  .map((groups) => new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1))
  .filter((text) => !text.startsWith('::ffff:'));
const anyHeader = fc.oneof(header(fc.ipV4()), header(v6));

describe('a PROXY protocol header', () => {
  it('of either version is read as it was written, however its bytes arrive and whatever follows', () => {
    fc.assert(
      fc.property(anyHeader, fc.constantFrom('v1', 'v2'), fc.uint8Array({ maxLength: 20 }), (one, version, rest) => {
        const written = formatProxyHeader(version as 'v1', one as ProxyHeader);
        for (let i = 0; i < written.length; i++)
          expect(read(written.subarray(0, i)).status).toBe(ProxyStatus.INCOMPLETE);
        const found = read(Buffer.concat([written, rest]));
        expect(found.status).toBe(ProxyStatus.COMPLETE);
        expect(found.length).toBe(written.length);
        expect(found.header).toEqual({ ...one, tlvs: version === 'v1' ? [] : one.tlvs });
      }),
    );
  });

  it.each([
    ['PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n', '255.255.255.255'],
    ['PROXY TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n', null],
    ['PROXY TCP6 ::1 ::2 1 2\r\n', '::1'],
    ['PROXY UNKNOWN\r\n', ''],
    [
      'PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n',
      '',
    ],
  ])('the examples of the specification: %j', (line, source) => {
    const found = read(line);
    if (source === null) return expect(found.status).toBe(ProxyStatus.ERROR);
    expect(found.status).toBe(ProxyStatus.COMPLETE);
    expect(found.length).toBe(line.length);
    expect(found.header?.sourceAddress ?? '').toBe(source);
  });

  it.each([
    'GET / HTTP/1.1\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n',
    'PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n',
    'PROXY TCP4 ::1 ::1 1 2\r\n',
    'PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n',
    'PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n',
    'proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n',
    `PROXY UNKNOWN ${'x'.repeat(100)}\r\n`,
  ])('is refused: %j', (line) => {
    expect(read(line).status).toBe(ProxyStatus.ERROR);
  });

  it('of version 2 is refused with another version, command, family, or lengths that do not fit', () => {
    const address = [1, 2, 3, 4, 5, 6, 7, 8, 0, 80, 0, 81];
    expect(read(v2([0x21, 0x11, 0, 12, ...address])).header?.destinationAddress).toBe('5.6.7.8');
    for (const bad of [
      [0x11, 0x11, 0, 12, ...address],
      [0x22, 0x11, 0, 12, ...address],
      [0x21, 0x12, 0, 12, ...address],
      [0x21, 0x11, 0, 11, ...address],
      [0x21, 0x21, 0, 12, ...address],
      [0x21, 0x11, 0, 15, ...address, 1, 0, 9],
      [0x21, 0x11, 0x20, 0, ...address],
    ])
      expect(read(v2(bad)).status, bad.join()).toBe(ProxyStatus.ERROR);
  });

  it('of a sender that speaks for itself names nobody, and its length is skipped', () => {
    expect(read(v2([0x20, 0, 0, 3, 9, 9, 9]))).toEqual({ status: ProxyStatus.COMPLETE, length: 19, header: null });
    expect(formatProxyHeader('v2', null)).toEqual(v2([0x20, 0, 0, 0]));
  });
});
