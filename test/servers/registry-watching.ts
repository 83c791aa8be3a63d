import type { TestContext } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/random.ts';
import { registries } from '../../src/discovery/catalog.ts';
import { ServiceFeed } from '../../src/discovery/feed.ts';
import type { Registry, RegistryEndpoint } from '../../src/discovery/registry.ts';

/** A registry by its settings, started, closed when the test is over. */
export async function startedRegistry(
  { onTestFinished }: TestContext,
  settings: Record<string, unknown>,
  log: string[] = [],
): Promise<Registry> {
  const context = {
    name: String(settings.kind),
    clock: systemClock,
    random: systemRandom,
    log: (level: string, message: string) => void log.push(`${level} ${message}`),
  };
  const registry = registries.create(registries.schema().parse(settings), context);
  onTestFinished(() => registry.close());
  await registry.start();
  return registry;
}

/** What a pool would use: the set behind the guard, its states, and the fewest fit endpoints it ever held. */
export function watchedFeed({ onTestFinished }: TestContext, registry: Registry, service: string, holdMs: number) {
  const seen: { set: readonly RegistryEndpoint[]; states: string[]; feed: ServiceFeed; smallest: number } = {
    set: [],
    states: [],
    smallest: Number.POSITIVE_INFINITY,
    feed: new ServiceFeed({
      registry,
      registryName: 'some',
      service: { name: service, tags: [] },
      lastGood: null,
      clock: systemClock,
      log: () => {},
      guard: { holdMs, confirmMs: Math.min(holdMs, 1000) },
      onSet: (set) => {
        seen.set = set;
        const usable = set.filter(({ status }) => status === 'up' || status === 'unknown').length;
        seen.smallest = Math.min(seen.smallest, usable);
      },
      onState: ({ state }) => seen.states.push(state),
    }),
  };
  onTestFinished(() => seen.feed.close());
  seen.feed.start();
  return seen;
}

/** `port status` of each. */
export function portsOf(set: readonly RegistryEndpoint[]): string[] {
  return set.map(({ port, status }) => `${port} ${status}`);
}
