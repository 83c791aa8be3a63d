import { describe, expect, it } from 'vitest';
import { GrpcFrames, grpcFrame } from '../../../../src/stores/nacos/grpc-frames.ts';
import { decodeNacosPayload, encodeNacosPayload } from '../../../../src/stores/nacos/nacos-payload.ts';

describe('a Nacos payload', () => {
  it('is written as protobuf has it', () => {
    const bytes = encodeNacosPayload({ type: 'A', headers: { k: 'v' }, body: Buffer.from('{}') });
    // metadata (2): type (3) "A", headers (7) { 1: "k", 2: "v" }; body (3): value (2) "{}"
    expect(bytes.toString('hex')).toBe('120b1a0141' + '3a060a016b120176' + '1a0412027b7d');
  });

  it('comes back as it went, also with names and bodies longer than one byte can tell', () => {
    const payload = { type: 'Ü'.repeat(100), headers: { a: 'b'.repeat(300), c: '' }, body: Buffer.alloc(70_000, 'x') };
    expect(decodeNacosPayload(encodeNacosPayload(payload))).toEqual(payload);
  });

  it('passes over fields it does not know, of every wire type', () => {
    const strange = Buffer.from('08ffffffffffffffffff01' + '110000000000000000' + '1d00000000' + '4203616263', 'hex');
    const bytes = Buffer.concat([strange, encodeNacosPayload({ type: 'A', headers: {}, body: Buffer.from('{}') })]);
    expect(decodeNacosPayload(bytes)).toMatchObject({ type: 'A', body: Buffer.from('{}') });
  });

  it.each(['12ff', '1205aa', '13', '12'])('refuses the broken message %s', (hex) => {
    expect(() => decodeNacosPayload(Buffer.from(hex, 'hex'))).toThrow(RangeError);
  });
});

describe('gRPC messages', () => {
  it('are put together again however they are cut', () => {
    const messages = [Buffer.from('one'), Buffer.alloc(0), Buffer.alloc(20_000, 'x')];
    const bytes = Buffer.concat(messages.map(grpcFrame));
    for (const size of [1, 3, 7, 4096, bytes.length]) {
      const frames = new GrpcFrames();
      const found: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += size) found.push(...frames.push(bytes.subarray(at, at + size)));
      expect(found).toEqual(messages);
    }
  });

  it('are refused when they are compressed or endless', () => {
    expect(() => new GrpcFrames().push(Buffer.from('0100000000', 'hex'))).toThrow('compressed');
    expect(() => new GrpcFrames().push(Buffer.from('00ffffffff', 'hex'))).toThrow('4294967295 bytes');
  });
});
