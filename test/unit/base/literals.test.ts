import { describe, expect, it } from 'vitest';
import {
  duration,
  formatHostPort,
  limit,
  orOff,
  parseDuration,
  parseHostPort,
  parseSize,
  share,
  size,
  timeout,
} from '../../../src/base/literals.ts';

describe('literals', () => {
  it.each([
    ['250ms', 250],
    ['5s', 5000],
    ['2m', 120_000],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    ['1d', 86_400_000],
    ['5', null],
    ['5 s', null],
    ['-5s', null],
    ['', null],
    ['5s ', null],
    ['1e3s', null],
  ])('reads the duration %j as %s ms', (text, ms) => expect(parseDuration(text)).toBe(ms));

  it.each([
    ['64KiB', 65_536],
    ['1.5MiB', 1_572_864],
    ['10', 10],
    ['1GB', 1e9],
    ['1kb', null],
    ['x', null],
    ['-1', null],
  ])('reads the size %j as %s bytes', (text, bytes) => expect(parseSize(text)).toBe(bytes));

  it.each([
    ['127.0.0.1:80', { host: '127.0.0.1', port: 80 }],
    ['[::1]:8080', { host: '::1', port: 8080 }],
    ['Name.Example:1', { host: 'name.example', port: 1 }],
    ['::1:80', null],
    ['127.0.0.1', null],
    ['127.0.0.1:65536', null],
    ['a/b:80', null],
    [':80', null],
  ])('reads the address %j', (text, expected) => expect(parseHostPort(text)).toEqual(expected));

  it('writes an address as it reads it', () => {
    for (const text of ['127.0.0.1:80', '[::1]:8080', '[fe80::1]:1']) {
      const { host, port } = parseHostPort(text)!;
      expect(formatHostPort(host, port)).toBe(text);
    }
  });

  it('takes shares as percent or as fractions between 0 and 1', () => {
    expect([share().parse('20%'), share().parse(0.2), share().parse('100%'), share().parse(0)]).toEqual([
      0.2, 0.2, 1, 0,
    ]);
    for (const wrong of ['120%', 1.1, -0.1, '20', 'x%']) expect(share().safeParse(wrong).success).toBe(false);
  });

  it('has `off`, and false as YAML 1.1 wrote it, for nothing; a timeout of 0 is a mistake, a limit of 0 is none', () => {
    expect([orOff(duration()).parse('off'), timeout().parse(false), limit().parse('off'), limit().parse(0)]).toEqual(
      new Array(4).fill(null),
    );
    expect([timeout().parse('1s'), limit().parse(7), size().parse('1KiB')]).toEqual([1000, 7, 1024]);
    expect(timeout().safeParse('0s').success).toBe(false);
  });

  it('says what was found and what would be right', () => {
    expect(duration().safeParse('soon').error!.issues[0].message).toBe(
      '"soon" is not a duration; write it as 250ms, 5s, 2m or 1h',
    );
  });
});
