import type { CentreActs, RunningVersion, Signed } from '../admin/config-acts.ts';
import { ConfigError, OperationError } from '../base/errors.ts';
import type { ConfigCentre } from '../centre/config-centre.ts';
import { proxyState } from '../centre/proxy-state.ts';
import type { Version } from '../centre/version.ts';
import { diffLines } from '../config/diff-text.ts';
import type { Environment } from '../config/environment.ts';
import type { CentreFollower } from './centre-follower.ts';
import type { ControlPlane } from './control-plane.ts';
import type { DocumentOptions } from './document.ts';
import { refuseSecrets } from './judge-push.ts';
import { type JudgedDocument, readToJudge } from './judged-document.ts';
import { tryBuild } from './try-build.ts';

/** The acts of `evenkeel config`, done by a proxy that follows the centre: what is pushed is judged against what this proxy knows, too. */
export class ProxyCentreActs implements CentreActs {
  readonly #centre: ConfigCentre;
  readonly #follower: CentreFollower;
  readonly #plane: ControlPlane;
  readonly #environment: Environment;

  constructor(centre: ConfigCentre, follower: CentreFollower, plane: ControlPlane, environment: Environment) {
    this.#centre = centre;
    this.#follower = follower;
    this.#plane = plane;
    this.#environment = environment;
  }

  get running(): RunningVersion {
    const { running, name, isOnTrial, refused } = this.#follower;
    const { number, id, author, message, time } = running;
    const told = refused === null ? null : { number: refused.number, problems: refused.problems };
    return {
      centre: this.#centre.store.address,
      proxy: name,
      number,
      id,
      author,
      message,
      time,
      isOnTrial,
      refused: told,
    };
  }

  async history(limit: number): Promise<readonly object[]> {
    return (await this.#centre.history(limit)).map(({ document: _, ...version }) => version);
  }

  version(wanted: string): Promise<object> {
    return this.#centre.find(wanted);
  }

  async diff(from: string, to: string): Promise<readonly string[]> {
    const [before, after] = [await this.#centre.find(from), await this.#centre.find(to)];
    return diffLines(this.#read(before), this.#read(after));
  }

  async status(): Promise<object> {
    const [reports, current] = [await this.#centre.reports(), await this.#centre.current()];
    const head = current?.head ?? null;
    const proxies = reports.map((report) => {
      const ageMs = this.#centre.ageOf(report);
      return { ...report, ageMs, state: proxyState(report, ageMs, head) };
    });
    return { centre: this.#centre.store.address, head, proxies };
  }

  async push(document: string, { author, message }: Signed, onto: number | null): Promise<object> {
    await this.#judge(document, 'the pushed document');
    return summary(await this.#centre.push({ document, author, message, onto, trial: null }));
  }

  async rollback(wanted: string, { author, message }: Signed): Promise<object> {
    const to = await this.#centre.find(wanted);
    await this.#judge(to.document, `version ${to.number}`);
    return summary(await this.#centre.rollback(to, author, message || `rollback to version ${to.number}`));
  }

  async withdraw({ author, message }: Signed): Promise<boolean> {
    const stage = (await this.#centre.current())?.head.stage ?? null;
    return stage !== null && this.#centre.withdraw(stage.key, author, message || 'withdrawn by hand');
  }

  async #judge(document: string, name: string): Promise<void> {
    refuseSecrets(document, name);
    const { loaded, problems: wrong } = this.#readToJudge(document, name);
    if (wrong.length > 0) throw new ConfigError(wrong);
    if (loaded !== null) tryBuild(loaded);
    const { problems } = await this.#plane.judge(document, null);
    const place = { file: name, line: 1, column: 1, path: '' };
    if (problems.length > 0) throw new ConfigError(problems.map((message) => ({ ...place, message })));
  }

  #read({ document, number }: Version): DocumentOptions {
    const { loaded, problems, unjudged } = this.#readToJudge(document, `version ${number}`);
    if (loaded !== null) return loaded.document;
    const { message } = new ConfigError([...problems, ...unjudged]);
    throw new OperationError('bad-version', `version ${number} cannot be read here: ${message}`);
  }

  /** Whoever asks learns nothing of this process that the admin API does not show. */
  #readToJudge(document: string, name: string): JudgedDocument {
    return readToJudge(document, name, this.#environment, this.#plane.inForce.loaded.variables);
  }
}

function summary({ document: _, ...version }: Version): object {
  return version;
}
