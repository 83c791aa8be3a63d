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
  for (const [name, settings] of Object.entries(document.registries))
    attempt(['registries', name], () => catalogs.registries.create(settings, { ...own, name, log: () => {} }));
  for (const [name, pool] of Object.entries(document.pools)) {
    const path = ['pools', name];
    attempt([...path, 'scheduler'], () =>
      catalogs.schedulers.create(pool.scheduler, { ...own, worker: 0, workers: 1 }),
    );
    const { probe } = pool;
    if (probe !== null) attempt([...path, 'probe'], () => catalogs.probes.create(probe, { tls: null }));
  }
  for (const [i, { routes }] of document.listeners.entries()) {
    const path = ['listeners', i, 'routes'];
    attempt(path, () => new RouteTable(routes, () => 0));
    for (const [j, route] of routes.entries())
      for (const [k, stage] of route.middleware.entries())
        attempt([...path, j, 'middleware', k], () => catalogs.middleware.create(stage, { route: route.name }));
  }
  if (problems.length > 0) throw new ConfigError(problems);
}
