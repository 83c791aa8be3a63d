import { describe, expect, it } from 'vitest';
import { type AnswerOptions, formatAnswer } from '../../../../src/proxy/http1/answer.ts';

function answered(options: Partial<AnswerOptions>): { lines: string[]; body: string } {
  const base = { status: 200, reason: null, head: false, close: false, keepAliveHttp10: false };
  const [head, body] = formatAnswer({ ...base, ...options })
    .toString('latin1')
    .split('\r\n\r\n');
  return { lines: head.split('\r\n').map((line) => line.replace(/^date: .*/, 'date')), body };
}

describe('an answer of evenkeel itself', () => {
  it('has a length, and its body where it is not for HEAD', () => {
    const lines = ['HTTP/1.1 200 OK', 'date', 'content-type: text/plain; charset=utf-8', 'content-length: 5'];
    expect(answered({ body: 'hello' })).toEqual({ lines, body: 'hello' });
    expect(answered({ body: 'hello', head: true })).toEqual({ lines, body: '' });
  });

  it.each([204, 304])(
    '%i has neither body nor length nor type: what follows would be read as the next response',
    (status) => {
      const { lines, body } = answered({ status, body: 'hello', headers: { etag: '"a"' } });
      expect(body).toBe('');
      expect(lines.slice(1)).toEqual(['date', 'etag: "a"']);
    },
  );
});
