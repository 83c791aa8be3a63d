import { describe, expect, it } from 'vitest';
import { Guard, isLoopbackName } from '../../../src/admin/guard.ts';

describe('Guard', () => {
  const open = new Guard('', '127.0.0.1');
  const closed = new Guard('sesame', '10.0.0.5');
  const code = (guard: Guard, headers: Record<string, string>, isOpen = false) =>
    guard.refuse(headers, isOpen)?.code ?? null;

  it.each(['127.0.0.1:9900', 'localhost:9900', 'LOCALHOST', '[::1]:9900', '127.8.9.1', 'evenkeel.localhost:9900'])(
    'answers to %s without a token',
    (host) => expect(code(open, { host })).toBe(null),
  );

  it.each([
    'evil.example:9900',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '10.0.0.5',
    '',
    'a b',
    '[::2]:9900',
  ])('does not answer to %s without a token (DNS rebinding)', (host) =>
    expect(code(open, { host })).toBe('foreign-host'),
  );

  it('answers to the address it is bound to', () => {
    expect(code(new Guard('', '::1'), { host: '[::1]:9900' })).toBe(null);
    expect(code(new Guard('', 'admin.internal'), { host: 'admin.internal:9900' })).toBe(null);
  });

  it('refuses pages of other sites, whatever token they send', () => {
    const host = '10.0.0.5:9900';
    const authorization = 'Bearer sesame';
    expect(code(closed, { host, authorization, origin: 'http://10.0.0.5:9900' })).toBe(null);
    for (const origin of ['http://evil.example', 'http://10.0.0.5:9901', 'http://10.0.0.5', 'null', '']) {
      expect([origin, code(closed, { host, authorization, origin })]).toEqual([origin, 'foreign-origin']);
    }
  });

  it('lets in only who has the token', () => {
    const host = 'anything.example';
    expect(code(closed, { host, authorization: 'Bearer sesame' })).toBe(null);
    expect(code(closed, { host, authorization: 'bearer  sesame' })).toBe(null);
    for (const authorization of [
      '',
      'Bearer',
      'Bearer ',
      'Bearer sesam',
      'Bearer sesame x',
      'Basic sesame',
      'sesame',
    ]) {
      expect([authorization, code(closed, { host, authorization })]).toEqual([authorization, 'unauthorized']);
    }
    expect(code(closed, { host })).toBe('unauthorized');
    expect(code(closed, { host }, true)).toBe(null);
  });
});

describe('isLoopbackName', () => {
  it('knows what always means this machine', () => {
    expect(['127.0.0.1', '127.255.1.2', '::1', 'localhost'].filter(isLoopbackName).length).toBe(4);
    expect(['0.0.0.0', '::', '128.0.0.1', '127.0.0.1.nip.io', 'localhosts'].filter(isLoopbackName)).toEqual([]);
  });
});
