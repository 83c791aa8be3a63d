import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { EventCounts } from '../../src/telemetry/event-counts.ts';
import { Metrics } from '../../src/telemetry/prometheus.ts';
import { LiveWorld } from '../helpers/live-world.ts';
import { requireServer } from '../helpers/require-server.ts';

const promtool = process.env.EVENKEEL_PROMTOOL ?? 'promtool';
const isFound = spawnSync(promtool, ['--version']).status === 0;

describe.skipIf(requireServer('promtool', isFound))('promtool', () => {
  it('reads the exposition and has no complaint about a family of ours', async () => {
    const world = new LiveWorld();
    const counts = new EventCounts(2);
    for (let port = 1; port <= 4; port++) world.serve(world.addEndpoint('web', port), port);
    counts.take({ type: 'ejected', pool: 'web', endpoint: '127.0.0.1:1', cause: 'success-rate', forMs: 10_000 });
    const metrics = new Metrics({ state: () => world.state, counts, endpointSeries: 2, clock: world.clock });
    const { text } = await metrics.exposition();
    const { status, stdout, stderr } = spawnSync(promtool, ['check', 'metrics'], { input: text, encoding: 'utf8' });
    const complaints = `${stdout}${stderr}`.split('\n').filter((line) => line.includes('evenkeel_'));
    expect(complaints).toEqual([]);
    // 3: read, but it dislikes names, which are Node's own (nodejs_*_total gauges).
    expect([0, 3], stderr).toContain(status);
  });
});
