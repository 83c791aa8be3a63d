import { describe, expect, it } from 'vitest';
import { type Exchange, Verdict } from '../../../src/middleware/exchange.ts';
import { redirect } from '../../../src/middleware/redirect.ts';

/** What a client is told: status and headers. */
function told(to: string, { host = 'shop.test', path = '/a', query = '' } = {}) {
  const answers: { status: number; headers: Readonly<Record<string, string>> | undefined }[] = [];
  const exchange = {
    host,
    path,
    query,
    answer(status: number, _: string, headers?: Readonly<Record<string, string>>) {
      answers.push({ status, headers });
      return Verdict.ANSWERED;
    },
  } as unknown as Exchange;
  const stage = redirect.create(redirect.options.parse({ kind: 'redirect', to }) as never, { route: 'all' });
  expect(stage.onRequest?.(exchange)).toBe(Verdict.ANSWERED);
  expect(answers).toHaveLength(1);
  return answers[0];
}

describe('a redirect', () => {
  it('leads to what the document says, with the parts of the request', () => {
    const { status, headers } = told('https://{host}{path}{query}', { query: 'x=1' });
    expect([status, headers]).toEqual([308, { location: 'https://shop.test/a?x=1' }]);
    expect(told('{path}', { path: '//evil.test/' }).headers).toEqual({ location: '/evil.test/' });
  });

  it('to the host of the request is refused where an HTTP/1.0 request names none', () => {
    const { status, headers } = told('https://{host}{path}', { host: '' });
    expect([status, headers]).toEqual([400, { 'x-evenkeel-reason': 'bad-request' }]);
    expect(told('https://shop.test{path}', { host: '' }).status).toBe(308);
  });
});
