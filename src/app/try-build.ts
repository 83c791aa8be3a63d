import { systemClock } from '../base/clock.ts';
import { ConfigError, type ConfigProblem } from '../base/errors.ts';
import { systemRandom } from '../base/random.ts';
import type { Path } from '../config/path.ts';
import { RouteTable } from '../routing/route-table.ts';
import { catalogs } from './catalogs.ts';
import type { LoadedDocument } from './document.ts';

/** Builds every part a document names and starts none: what a constructor refuses is a problem of the document. Throws a ConfigError. */
export function tryBuild({ document, problemAt }: LoadedDocument): void {
  const problems: ConfigProblem[] = [];
  const attempt = (path: Path, build: () => unknown) => {
    try {
      build();
    } catch (error) {
      problems.push(problemAt(path, `cannot be built: ${(error as Error).message}`));
    }
  };
  const own = { clock: systemClock, random: systemRandom };
  const silent = new Set<string>();
  for (const [name, settings] of Object.entries(document.registries))
    attempt(['registries', name], () => {
      const registry = catalogs.registries.create(settings, { ...own, name, log: () => {} });
      if (registry.register === undefined) silent.add(name);
    });
  for (const [name, pool] of Object.entries(document.pools)) {
    const path = ['pools', name];
    attempt([...path, 'scheduler'], () =>
      catalogs.schedulers.create(pool.scheduler, { ...own, worker: 0, workers: 1 }),
    );
    const { probe } = pool;
    if (probe !== null) attempt([...path, 'probe'], () => catalogs.probes.create(probe, { tls: null }));
  }
  for (const [i, { routes, register }] of document.listeners.entries()) {
    for (const { registry } of register) {
      const { kind } = document.registries[registry];
      if (silent.has(registry))
        problems.push(
          problemAt(
            ['listeners', i, 'register'],
            `the registry "${registry}" is of kind ${kind}, which takes no registrations`,
          ),
        );
    }
    const path = ['listeners', i, 'routes'];
    attempt(path, () => new RouteTable(routes, () => 0));
    for (const [j, route] of routes.entries())
      for (const [k, stage] of route.middleware.entries())
        attempt([...path, j, 'middleware', k], () => catalogs.middleware.create(stage, { route: route.name }));
  }
  if (problems.length > 0) throw new ConfigError(problems);
}
