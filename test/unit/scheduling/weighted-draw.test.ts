import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../src/base/random.ts';
import { Tried } from '../../../src/endpoint/endpoint-set.ts';
import { WeightedDraw } from '../../../src/scheduling/weighted-draw.ts';
import { EndpointFactory } from '../../helpers/endpoint-factory.ts';

function drawOver(weights: readonly number[]) {
  const members = new EndpointFactory().weighted(weights);
  const draw = new WeightedDraw(seededRandom(11));
  draw.update(members);
  return { members, draw };
}

describe('weighted draw', () => {
  it.each([[[1, 1, 1]], [[5, 1, 1]], [[0.01, 100, 3, 3, 50]], [[65_535, 1]]])('draws %j in proportion', (weights) => {
    const { draw } = drawOver(weights);
    const counts = weights.map(() => 0);
    for (let i = 0; i < 100_000; i++) counts[draw.draw()]++;
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (let i = 0; i < weights.length; i++)
      expect(Math.abs(counts[i] - (100_000 * weights[i]) / total)).toBeLessThan(1000);
  });

  it('leaves out weight 0', () => {
    const { draw, members } = drawOver([0, 1, 0, 2]);
    expect(draw.members).toEqual([members[1], members[3]]);
  });

  it('never draws the same one twice for a pair, even when one has nearly all the weight', () => {
    const { draw } = drawOver([60_000, 1, 1]);
    const others = new Set<number>();
    for (let i = 0; i < 1000; i++) {
      const other = draw.drawOther(0, new Tried());
      expect(other).not.toBe(0);
      others.add(other);
    }
    expect(others.size).toBe(2);
  });

  it('keeps the proportion among what was not tried', () => {
    const { draw, members } = drawOver([1000, 3, 1]);
    const tried = new Tried();
    tried.add(members[0]);
    const counts = [0, 0, 0];
    for (let i = 0; i < 40_000; i++) counts[draw.drawUntried(tried)]++;
    expect(counts[0]).toBe(0);
    expect(counts[1] / counts[2]).toBeGreaterThan(2.7);
    expect(counts[1] / counts[2]).toBeLessThan(3.3);
  });

  it('finds no other when all others were tried', () => {
    const { draw, members } = drawOver([1, 1, 1]);
    const tried = new Tried();
    tried.add(members[1]);
    tried.add(members[2]);
    expect(draw.drawOther(0, tried)).toBe(-1);
  });
});
