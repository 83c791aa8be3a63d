import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { ConfigError } from '../base/errors.ts';
import { systemRandom } from '../base/random.ts';
import { openStore } from '../centre/catalog.ts';
import { ConfigCentre } from '../centre/config-centre.ts';
import type { Logger } from '../telemetry/log.ts';
import { catalogs } from './catalogs.ts';
import { ProxyCentreActs } from './centre-acts.ts';
import { CentreFollower } from './centre-follower.ts';
import type { ControlPlane } from './control-plane.ts';
import { type LoadedDocument, readDocument, withFiles } from './document.ts';
import { readToJudge } from './judged-document.ts';
import type { DocumentSource, Following, RunOptions } from './run.ts';
import { TrafficTally } from './traffic-tally.ts';

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
  const follower = new CentreFollower({
    centre,
    name,
    cache: join(state, 'centre', `${place}.json`),
    patienceMs: PATIENCE_MS,
    wallClock: Date.now,
  });
  const reread = async (): Promise<LoadedDocument> => {
    const { document, number } = follower.version;
    return withFiles(readDocument(document, `${store.address}@${number}`, environment, catalogs));
  };
  const warnings = await startFollower(follower, reread).catch(async (error: unknown) => {
    await store.close();
    throw error;
  });
  return {
    reread,
    read: (text, variables) => readToJudge(text, 'the document', environment, variables),
    follow: (plane, log) => {
      for (const warning of warnings) log.warn({}, warning);
      plane.centre = new ProxyCentreActs(centre, follower, plane, environment);
      return follow(follower, plane, log);
    },
  };
}

async function startFollower(follower: CentreFollower, reread: () => Promise<LoadedDocument>): Promise<string[]> {
  const { warning } = await follower.start();
  const warnings = warning === null ? [] : [warning];
  try {
    await reread();
  } catch (error) {
    if (!(error instanceof ConfigError) || !(await follower.fallBack(error))) throw error;
    warnings.push(
      `the config centre's version cannot start here; going on with version ${follower.version.number}: ${error.message}`,
    );
  }
  return warnings;
}

function follow(follower: CentreFollower, plane: ControlPlane, log: Logger): Following {
  const stop = plane.events.listen(({ type }) => {
    if (type !== 'ready') return;
    stop();
    follower.follow({
      apply: () => plane.reload(),
      tally: () => new TrafficTally(() => plane.routes),
      publish: (event) => plane.events.publish(event),
      log,
    });
  });
  return {
    leave: () => {
      stop();
      follower.leave();
    },
    close: () => {
      stop();
      return follower.close();
    },
  };
}
