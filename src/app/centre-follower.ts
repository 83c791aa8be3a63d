import { readFile } from 'node:fs/promises';
import type { ReloadResult } from '../admin/control.ts';
import { type ConfigError, formatProblem, OperationError } from '../base/errors.ts';
import { parseSaved, replaceFile } from '../base/saved-file.ts';
import { type ConfigCentre, REPORT_MS } from '../centre/config-centre.ts';
import { FORMAT, type Head, type ProxyReport, type Version, versionSchema } from '../centre/version.ts';
import type { EvenkeelEvent } from '../telemetry/event-log.ts';
import type { Logger } from '../telemetry/log.ts';
import type { TrafficTally } from './traffic-tally.ts';
import { Trial } from './trial.ts';

/** How often a trial is judged, and how much traffic from before it is compared with at most. */
const JUDGE_MS = 500;
const BASELINE_MS = 30_000;
/** A trial that nobody ended (its proxies died) is ended by whoever sees it, so long after its time. */
const ABANDONED_MS = 60_000;

export interface CentreFollowerOptions {
  readonly centre: ConfigCentre;
  /** What the proxy is called in reports and stages. */
  readonly name: string;
  /** File of the last version that ran. */
  readonly cache: string;
  /** How long `start` waits for the centre before it takes the last good version. */
  readonly patienceMs: number;
  /** Ms since 1970: times are compared between machines. */
  readonly wallClock: () => number;
}

/** What the running proxy gives the follower once it runs. */
export interface Followed {
  /** Puts the follower's `version` in force. */
  readonly apply: () => Promise<ReloadResult>;
  readonly tally: () => TrafficTally;
  readonly publish: (event: EvenkeelEvent) => void;
  readonly log: Logger;
}

/**
 * Keeps one proxy at the version that its config centre has for it: the head, or a version on trial where the head names this proxy. On main. A version that
 * cannot be put in force is refused and reported; the one before runs on. When the centre is gone, or garbles, or is empty, what runs runs on.
 */
export class CentreFollower {
  readonly #options: CentreFollowerOptions;
  #version: Version | null = null;
  #since: string;
  #refused: ProxyReport['refused'] = null;
  /** Key of the version that was refused last: it is not tried again until the head changes. */
  #refusedKey: string | null = null;
  #followed: Followed | null = null;
  #trial: { readonly key: string; readonly trial: Trial } | null = null;
  #tally: TrafficTally | null = null;
  #tallySinceMs = 0;
  #head: Head | null = null;
  #watch: { close(): void } | null = null;
  #timers: NodeJS.Timeout[] = [];
  #work: Promise<void> = Promise.resolve();
  #isReportFailing = false;
  /** Nothing has been heard of the head since `follow`. */
  #isFresh = true;
  /** Another process has our name now. */
  #hasLeft = false;

  constructor(options: CentreFollowerOptions) {
    this.#options = options;
    this.#since = this.#now();
  }

  /** What runs, or is to be put in force. Only after `start`. */
  get version(): Version {
    if (this.#version === null) throw new Error('version before start');
    return this.#version;
  }

  get name(): string {
    return this.#options.name;
  }

  get isOnTrial(): boolean {
    return this.#trial !== null;
  }

  /** What was offered and not taken; null when what should run does. */
  get refused(): ProxyReport['refused'] {
    return this.#refused;
  }

  /**
   * The version to start with: the centre's, or the last that ran here when the centre cannot be asked (`warning` says so then). Rejects with an
   * OperationError when there is neither.
   */
  async start(): Promise<{ readonly warning: string | null }> {
    const { centre, patienceMs } = this.#options;
    const cached = await this.#readCache();
    try {
      const wanted = await withDeadline(this.#ofCentre(), patienceMs, centre.store.address);
      if (wanted !== null) {
        this.#version = wanted;
        return { warning: null };
      }
      if (cached === null)
        throw new OperationError(
          'empty-centre',
          `${centre.store.address} holds no version yet: evenkeel config push FILE -c ${centre.store.address}`,
        );
      this.#version = cached;
      return { warning: `${centre.store.address} is empty; going on with version ${cached.number} that ran here last` };
    } catch (error) {
      if (!(error instanceof OperationError) || cached === null) throw error;
      this.#version = cached;
      return { warning: `${error.message}; going on with version ${cached.number} (${cached.id}) that ran here last` };
    }
  }

  /** The centre's version cannot start here: take the last that did. False when there is none. */
  async fallBack(error: ConfigError): Promise<boolean> {
    const cached = await this.#readCache();
    if (cached === null || cached.key === this.version.key) return false;
    this.#refuse(this.version, error.problems.map(formatProblem));
    this.#version = cached;
    return true;
  }

  /** The proxy runs `version`: follow the head from now on. */
  follow(followed: Followed): void {
    this.#followed = followed;
    this.#tally = followed.tally();
    this.#tallySinceMs = this.#options.wallClock();
    this.#since = this.#now();
    void this.#keep();
    this.#watch = this.#options.centre.watchHead({
      changed: (stored) => this.#onHead(stored?.text ?? null),
      unavailable: (error) =>
        followed.log.warn(
          { centre: this.#options.centre.store.address, error: error.message },
          'the config centre cannot be asked; running on',
        ),
    });
    this.#timers = [
      setInterval(() => this.#turn(() => this.#judge()), JUDGE_MS),
      setInterval(() => this.#turn(() => this.#report()), REPORT_MS),
    ];
    this.#turn(() => this.#report());
  }

  /** Another process follows the centre by this name: from now on nothing is applied, judged or reported here. */
  leave(): void {
    this.#hasLeft = true;
    this.#watch?.close();
    this.#watch = null;
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** Leaves the list of proxies, unless another process has its place there. */
  async close(): Promise<void> {
    const isListed = this.#followed !== null && !this.#hasLeft;
    this.leave();
    await this.#work;
    const { centre, name, patienceMs } = this.#options;
    if (isListed)
      await withDeadline(centre.forget(name), Math.min(patienceMs, 2000), centre.store.address).catch(() => {});
    await centre.store.close();
  }

  #turn(act: () => Promise<void>): void {
    const actUnlessLeft = () => (this.#hasLeft ? Promise.resolve() : act());
    this.#work = this.#work.then(actUnlessLeft).catch((error: unknown) => {
      this.#followed?.log.error({ error: String(error) }, 'following the config centre failed');
    });
  }

  #onHead(text: string | null): void {
    const { centre } = this.#options;
    if (text === null) {
      this.#followed?.log.warn({ centre: centre.store.address }, 'the config centre is empty; running on');
      return;
    }
    try {
      this.#head = centre.readHead(text);
    } catch (error) {
      this.#followed?.log.error({ error: (error as Error).message }, 'the config centre holds garbage; running on');
      return;
    }
    this.#refusedKey = null;
    this.#turn(() => this.#catchUp());
  }

  /** Brings the proxy to the version that the head has for it. */
  async #catchUp(): Promise<void> {
    const head = this.#head;
    if (head === null) return;
    const isOnTrial = head.stage?.proxies.includes(this.name) === true;
    const key = isOnTrial ? (head.stage as { key: string }).key : head.key;
    if (!isOnTrial) this.#trial = null;
    // A version that this process began with may be on trial: the process that tried it is gone.
    if (isOnTrial && key === this.version.key && this.#isFresh) this.#trial = this.#beginTrial(head);
    this.#isFresh = false;
    if (key === this.version.key || key === this.#refusedKey) return;
    const wanted = await this.#fetch(key);
    if (wanted === null) return;
    const trial = isOnTrial ? this.#beginTrial(head) : null;
    if (await this.#putInForce(wanted)) this.#trialBegan(wanted, head, trial);
    else if (this.#hasLeft) return;
    else if (isOnTrial) await this.#options.centre.withdraw(key, this.name, this.#refused?.problems[0] ?? 'refused');
    await this.#report();
  }

  #trialBegan({ number, id }: Version, { stage }: Head, trial: { key: string; trial: Trial } | null): void {
    this.#trial = trial;
    if (trial === null) return;
    this.#followed?.publish({ type: 'trial-began', number, version: id, forMs: stage?.trialMs ?? 0 });
  }

  #beginTrial({ stage }: Head): { key: string; trial: Trial } | null {
    if (stage === null || this.#tally === null) return null;
    return { key: stage.key, trial: new Trial(this.#tally, this.#options.wallClock(), stage.trialMs) };
  }

  async #fetch(key: string): Promise<Version | null> {
    try {
      return await this.#options.centre.version(key);
    } catch (error) {
      this.#followed?.log.error(
        { version: key, error: (error as Error).message },
        'a version cannot be had from the config centre; running on',
      );
      return null;
    }
  }

  async #putInForce(wanted: Version): Promise<boolean> {
    const before = this.version;
    this.#version = wanted;
    const result = await (this.#followed as Followed).apply();
    if (result.accepted) {
      this.#since = this.#now();
      this.#refused = null;
      const { number, id, author } = wanted;
      this.#followed?.publish({ type: 'version-applied', number, version: id, author });
      await this.#keep();
      return true;
    }
    this.#version = before;
    const problems = result.problems.length > 0 ? result.problems.map(formatProblem) : [result.message];
    this.#refuse(wanted, problems);
    return false;
  }

  #refuse({ id, number, key }: Version, problems: readonly string[]): void {
    this.#refused = { id, number, problems };
    this.#refusedKey = key;
    this.#followed?.publish({ type: 'version-refused', number, version: id, problems });
  }

  async #judge(): Promise<void> {
    const { centre, wallClock } = this.#options;
    const tally = this.#tally as TrafficTally;
    if (this.#trial === null) {
      if (wallClock() - this.#tallySinceMs > BASELINE_MS) this.#restartTally(tally);
      await this.#endAbandoned();
      return;
    }
    const { key, trial } = this.#trial;
    const verdict = trial.verdict(wallClock());
    if (verdict.kind === 'wait') return;
    this.#trial = null;
    this.#restartTally(tally);
    const { number, id: version } = this.version;
    if (verdict.kind === 'good') {
      await centre.pass(key, this.name);
      this.#followed?.publish({ type: 'trial-passed', number, version });
    } else if (await centre.withdraw(key, this.name, verdict.reason))
      this.#followed?.publish({ type: 'version-withdrawn', number, version, reason: verdict.reason });
  }

  #restartTally(tally: TrafficTally): void {
    tally.advance();
    tally.reset();
    this.#tallySinceMs = this.#options.wallClock();
  }

  async #endAbandoned(): Promise<void> {
    const stage = this.#head?.stage ?? null;
    if (stage === null) return;
    const over = Date.parse(stage.since) + stage.trialMs + ABANDONED_MS;
    if (this.#options.wallClock() > over)
      await this.#options.centre.withdraw(stage.key, this.name, 'the proxies that tried it have not judged it in time');
  }

  async #report(): Promise<void> {
    const { id, number } = this.version;
    try {
      await this.#options.centre.report({
        name: this.name,
        time: this.#now(),
        id,
        number,
        since: this.#since,
        refused: this.#refused,
      });
      this.#isReportFailing = false;
    } catch (error) {
      if (!this.#isReportFailing)
        this.#followed?.log.warn(
          { error: (error as Error).message },
          'the config centre cannot be told what runs here',
        );
      this.#isReportFailing = true;
    }
  }

  async #ofCentre(): Promise<Version | null> {
    const current = await this.#options.centre.current();
    if (current === null) return null;
    const { head } = current;
    const isOnTrial = head.stage?.proxies.includes(this.name) === true;
    return this.#options.centre.version(isOnTrial ? (head.stage as { key: string }).key : head.key);
  }

  async #readCache(): Promise<Version | null> {
    try {
      const parsed = parseSaved(await readFile(this.#options.cache, 'utf8'), versionSchema, FORMAT, 'a version');
      return typeof parsed === 'string' ? null : parsed;
    } catch {
      return null;
    }
  }

  async #keep(): Promise<void> {
    try {
      await replaceFile(this.#options.cache, JSON.stringify({ format: FORMAT, ...this.version }));
    } catch (error) {
      this.#followed?.log.warn(
        { file: this.#options.cache, error: (error as Error).message },
        'the version in force cannot be kept: a start without the config centre would fail',
      );
    }
  }

  #now(): string {
    return new Date(this.#options.wallClock()).toISOString();
  }
}

async function withDeadline<T>(promise: Promise<T>, ms: number, address: string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new OperationError('store-late', `${address} does not answer`)), ms);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
