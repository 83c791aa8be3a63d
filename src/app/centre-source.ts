import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { systemRandom } from '../base/random.ts';
import { openStore } from '../centre/catalog.ts';
import { ConfigCentre } from '../centre/config-centre.ts';
import type { Version } from '../centre/version.ts';
import type { Logger } from '../telemetry/log.ts';
import { catalogs } from './catalogs.ts';
import { ProxyCentreActs } from './centre-acts.ts';
import { CentreFollower, type Wanted } from './centre-follower.ts';
import { CentreJudge } from './centre-judge.ts';
import type { ControlPlane } from './control-plane.ts';
import { type LoadedDocument, readDocument, withFiles } from './document.ts';
import { readToJudge } from './judged-document.ts';
import { rehearsalOf } from './rehearsal.ts';
import type { DocumentSource, Following, RunOptions } from './run.ts';
import { startVersion } from './start-version.ts';
import { TrafficTally } from './traffic-tally.ts';
import { tryBuild } from './try-build.ts';
import { VersionCache } from './version-cache.ts';

/** How long a start waits for the config centre before it goes on with what ran last. */
const PATIENCE_MS = 5000;

/**
 * A document that lives in a config centre. Rejects with an OperationError when there is neither the centre nor a version that ran here, with a ConfigError
 * when the centre's version is wrong and no other ran here.
 */
export async function centreSource({ file, environment, name, state }: RunOptions): Promise<DocumentSource> {
  const store = openStore(file, { random: systemRandom, environment });
  const place = createHash('sha256').update(store.address).digest('hex').slice(0, 12);
  const centre = new ConfigCentre(store, { wallClock: Date.now, random: systemRandom });
  const read = async ({ document, number }: Version) =>
    withFiles(readDocument(document, `${store.address}@${number}`, environment, catalogs));
  const cache = new VersionCache(join(state, 'centre', `${place}.json`));
  const start = await startVersion({ centre, cache, patienceMs: PATIENCE_MS, read }).catch(async (error: unknown) => {
    await store.close();
    throw error;
  });
  const follower = new CentreFollower({ centre, name, cache, start, wallClock: Date.now });
  const reread = () => readWanted(follower.wanted, read);
  return {
    reread,
    read: (text, variables) => readToJudge(text, 'the document', environment, variables),
    follow: (plane, log) => {
      for (const warning of start.warnings) log.warn({}, warning);
      plane.centre = new ProxyCentreActs(centre, follower, plane, environment);
      const judge = new CentreJudge({
        questions: centre.questions,
        name,
        judge: (document) => plane.judge(document, null),
        log,
      });
      return follow(follower, judge, plane, log);
    },
  };
}

/** Where a version on trial cannot run beside the other, it stands in its place from the beginning. */
async function readWanted(
  { version, trial }: Wanted,
  read: (version: Version) => Promise<LoadedDocument>,
): Promise<LoadedDocument> {
  if (trial === null) return read(version);
  const staged = await read(trial.version);
  if (trial.share === 1) return staged;
  tryBuild(staged);
  return rehearsalOf(await read(version), staged, trial.version.number, trial.share) ?? staged;
}

function follow(follower: CentreFollower, judge: CentreJudge, plane: ControlPlane, log: Logger): Following {
  const stop = plane.events.listen(({ type }) => {
    if (type !== 'ready') return;
    stop();
    judge.start();
    follower.follow({
      apply: () => plane.reload(),
      tally: () => new TrafficTally(() => plane.listeners.liveRoutes),
      trialTally: () => new TrafficTally(() => plane.listeners.triedRoutes),
      publish: (event) => plane.events.publish(event),
      log,
    });
  });
  return {
    rest: () => follower.rest(),
    leave: () => {
      stop();
      follower.leave();
      judge.leave();
    },
    close: async () => {
      stop();
      // The store closes with the follower: both names go at the same time.
      await Promise.all([judge.close(), follower.close()]);
    },
  };
}
