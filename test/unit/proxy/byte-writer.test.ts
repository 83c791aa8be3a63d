import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ByteWriter } from '../../../src/proxy/byte-writer.ts';

it('a writer hands out what was written, grown or not, and starts again empty', () => {
  const writer = new ByteWriter(8);
  const step = fc.oneof(
    fc.uint8Array({ maxLength: 100 }).map((bytes) => ({ bytes: Buffer.from(bytes), text: null })),
    fc.string({ unit: fc.nat(255).map((code) => String.fromCharCode(code)), maxLength: 100 }).map((text) => {
      return { bytes: Buffer.from(text, 'latin1'), text };
    }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      for (const { bytes, text } of steps) {
        if (text !== null) writer.text(text);
        else writer.bytes(Buffer.concat([Buffer.from('ab'), bytes, Buffer.from('c')]), 2, bytes.length + 2);
      }
      const expected = Buffer.concat(steps.map(({ bytes }) => bytes));
      expect(writer.length).toBe(expected.length);
      const taken = writer.take();
      expect(taken.equals(expected)).toBe(true);
      expect(writer.length).toBe(0);
      // What was taken is a copy: the next message does not change it.
      writer.text('x'.repeat(expected.length));
      expect(taken.equals(expected)).toBe(true);
      writer.begin();
    }),
  );
});

it('writes numbers in both bases and prepared pieces', () => {
  const writer = new ByteWriter();
  writer.number(255, 16);
  writer.piece(Buffer.from(' '));
  writer.number(255, 10);
  expect(writer.take().toString()).toBe('ff 255');
});

it('writes statuses, and numbers around them, as digits', () => {
  const writer = new ByteWriter(2);
  for (const number of [0, 99, 100, 204, 599, 999, 1000, 65_536]) {
    writer.number(number, 10);
    expect(writer.take().toString()).toBe(String(number));
  }
});

it('shows what was written where it lies, until it is let go of', () => {
  const writer = new ByteWriter(16);
  writer.text('first');
  const shown = writer.view();
  expect(shown.toString()).toBe('first');
  writer.letGo();
  writer.text('other');
  expect(shown.toString()).toBe('first');
  expect(writer.view().toString()).toBe('other');
  writer.begin();
  writer.text('again');
  expect(writer.view().toString()).toBe('again');
  writer.text('x'.repeat(100));
  expect(writer.view().toString()).toBe(`again${'x'.repeat(100)}`);
});
