import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ExplainedRequest } from '../../../../src/proxy/http1/explained-request.ts';
import { type PathRules, pathOptions } from '../../../../src/routing/normal-path.ts';
import { routeOptions } from '../../../../src/routing/options.ts';

const ROUTES = [
  { name: 'orders', match: { path: '/orders', query: { x: '1' } }, pool: 'p' },
  { name: 'all', pool: 'p' },
].map((one) => routeOptions(z.never()).parse(one));

function ask(target: string, paths: Partial<PathRules> = {}) {
  const request = new ExplainedRequest({ method: 'GET', host: 'a', target, headers: [], client: '' });
  const { route, refusal, others } = request.routeOf(ROUTES, pathOptions.parse(paths));
  return { told: route?.name ?? refusal?.status, others: others.map(({ because }) => because), request };
}

describe('an explained request goes where the listener would send it', () => {
  it.each([['/a\\b'], ['/a/%zz'], ['/orders/../x'], ['/%00']])('%s: to nobody, as the engine', (target) =>
    expect(ask(target).told).toBe(400),
  );

  it('by the form that the rules of its listener give the path', () => {
    expect(ask('/x/../orders/1?x=1', { dotSegments: 'resolve' }).told).toBe('orders');
    expect(ask('/orders\\1?x=1', { backslash: 'slash' }).told).toBe('orders');
    expect(ask('/orders//1?x=1', { emptySegments: 'refuse' }).told).toBe(400);
  });

  it('with the query behind the shortened path, for routes, reasons and hashing alike', () => {
    const { told, others, request } = ask('/x/../%6frders/1?x=2', { dotSegments: 'resolve' });
    expect([told, others]).toEqual(['all', ['query x is not as asked']]);
    expect([request.path, request.query]).toEqual(['/orders/1', 'x=2']);
  });
});
