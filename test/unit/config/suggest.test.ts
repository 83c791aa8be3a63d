import { describe, expect, it } from 'vitest';
import { nearest, suggestion } from '../../../src/config/suggest.ts';

describe('suggestions', () => {
  const known = ['timeouts', 'limits', 'retry', 'tls'];

  it.each([
    ['timeout', 'timeouts'],
    ['Timeouts', 'timeouts'],
    ['timoeuts', 'timeouts'],
    ['retyr', 'retry'],
    ['tsl', 'tls'],
    ['quota', null],
    ['x', null],
  ])('%s: %s', (word, expected) => {
    expect(nearest(word, known)).toBe(expected);
  });

  it('list what is known when nothing is near', () => {
    expect(suggestion('quota', known, 'known')).toBe('; known: timeouts, limits, retry, tls');
    expect(suggestion('quota', [], 'known')).toBe('');
  });
});
