import { expect, it } from 'vitest';
import { parseGoDuration } from '../../../../src/discovery/embedded/go-duration.ts';

it.each([
  ['15000ms', 15_000],
  ['1m30s', 90_000],
  ['5m0s', 300_000],
  ['1.5h', 5_400_000],
  ['.5s', 500],
  ['250us', 0.25],
  ['-1s', -1000],
  ['0', 0],
])('reads %s as %d ms', (text, ms) => {
  expect(parseGoDuration(text)).toBe(ms);
});

it.each(['', '10', 'abc', '1 s', '1d', '.s', 's', '1s2'])('refuses %j', (text) => {
  expect(parseGoDuration(text)).toBeNull();
});
