import { describe, expect, it } from 'vitest';
import { TrafficTally } from '../../../src/app/traffic-tally.ts';
import { RouteCells } from '../../../src/routing/route-cells.ts';

describe('a tally of what is answered', () => {
  it('counts what a route that returns is answered from then on, not what it had counted before', () => {
    const [kept, gone] = [new RouteCells(2), new RouteCells(2)];
    const route = (cells: RouteCells) => ({ listener: 'web', route: 'a', pool: 'a', cells });
    let routes = [route(kept), route(gone)];
    const tally = new TrafficTally(() => routes);
    for (let i = 0; i < 50; i++) gone.count(1, 0, 502, 1);
    tally.advance();
    expect(tally.traffic).toMatchObject({ requests: 50, errors: 50 });
    routes = [route(kept)];
    tally.advance();
    tally.reset();
    routes = [route(kept), route(gone)];
    tally.advance();
    gone.count(1, 0, 200, 1);
    kept.count(1, 0, 200, 1);
    tally.advance();
    expect(tally.traffic).toMatchObject({ requests: 2, errors: 0 });
  });
});
