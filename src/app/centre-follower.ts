import type { ReloadResult } from '../admin/control.ts';
import { formatProblem } from '../base/errors.ts';
import { type ConfigCentre, REPORT_MS } from '../centre/config-centre.ts';
import type { Head, ProxyReport, Stage, Version } from '../centre/version.ts';
import type { EvenkeelEvent } from '../telemetry/event-log.ts';
import type { Logger } from '../telemetry/log.ts';
import { Baseline } from './baseline.ts';
import { type StartVersion, withDeadline } from './start-version.ts';
import type { TrafficTally } from './traffic-tally.ts';
import { Trial } from './trial.ts';
import type { VersionCache } from './version-cache.ts';

/** How often a trial is judged. */
const JUDGE_MS = 100;
/** At the end, the centre is not waited for longer. */
const FORGET_MS = 2000;
/** Between two attempts to tell the centre how a trial ended. */
const RETRY_MS = 2000;
/** A trial that nobody ended (its proxies died) is ended by whoever sees it, so long after its time. */
const ABANDONED_MS = 60_000;

export interface CentreFollowerOptions {
  readonly centre: ConfigCentre;
  /** What the proxy is called in reports and stages. */
  readonly name: string;
  readonly cache: VersionCache;
  /** Put in force at the start. */
  readonly start: StartVersion;
  /** Ms since 1970: times are compared between machines. */
  readonly wallClock: () => number;
}

/** What the running proxy gives the follower once it runs. */
export interface Followed {
  /** Puts what the follower says is `wanted` in force. */
  readonly apply: () => Promise<ReloadResult>;
  /** Counts what everybody is answered. */
  readonly tally: () => TrafficTally;
  /** Counts what those are answered who have the version on trial. */
  readonly trialTally: () => TrafficTally;
  readonly publish: (event: EvenkeelEvent) => void;
  readonly log: Logger;
}

/** What is to be in force: a version, and beside it one on trial for a share of the connections (1: it stands in the other's place). */
export interface Wanted {
  readonly version: Version;
  readonly trial: { readonly version: Version; readonly share: number } | null;
}

/**
 * Keeps one proxy at the version that its config centre has for it: the head, and beside it a version on trial where the head names this proxy. On main. A
 * version that cannot be put in force is refused and reported; the one before runs on. A trial that fails ends here first, then in the centre. When the centre
 * is gone, or garbles, or is empty, what runs runs on.
 */
export class CentreFollower {
  readonly #options: CentreFollowerOptions;
  /** In force wholly, but for a trial. */
  #version: Version;
  #trial: { readonly version: Version; readonly trial: Trial } | null = null;
  /** What was put in force last was put there for a trial. */
  #isTrialInForce = false;
  /** A trial that failed here, and the centre has not been told. */
  #withdrawing: { readonly key: string; readonly reason: string } | null = null;
  #retryAtMs = 0;
  #since: string;
  #refused: ProxyReport['refused'] = null;
  /** Key of the version that was refused last: it is not tried again until the head changes. */
  #refusedKey: string | null = null;
  #followed: Followed | null = null;
  #baseline: Baseline | null = null;
  #head: Head | null = null;
  /** When the stage of the head was first seen here, by our clock. */
  #stagedSinceMs = 0;
  #watch: { close(): void } | null = null;
  #timers: NodeJS.Timeout[] = [];
  #work: Promise<void> = Promise.resolve();
  #isReportFailing = false;
  /** What the head has for this proxy could not be had: asked for again with each report. */
  #isBehind = false;
  /** Another process has our name now. */
  #hasLeft = false;
  #isOver = false;

  constructor(options: CentreFollowerOptions) {
    this.#options = options;
    const { version, refused } = options.start;
    this.#version = version;
    this.#since = this.#now();
    if (refused !== null) this.#refuse(refused.version, refused.problems);
  }

  get wanted(): Wanted {
    const trial = this.#trial === null ? null : { version: this.#trial.version, share: this.#trial.trial.share };
    return { version: this.#version, trial };
  }

  /** What runs, the version on trial while there is one. */
  get running(): Version {
    return this.#trial?.version ?? this.#version;
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

  /** The proxy runs: follow the head from now on. */
  follow(followed: Followed): void {
    const { centre, wallClock } = this.#options;
    this.#followed = followed;
    this.#baseline = new Baseline(followed.tally(), wallClock());
    this.#since = this.#now();
    this.#turn(() => this.#report());
    this.#turn(() => this.#keep());
    this.#watch = centre.watchHead({
      changed: (stored) => this.#onHead(stored?.text ?? null),
      unavailable: (error) =>
        followed.log.warn(
          { centre: centre.store.address, error: error.message },
          'the config centre cannot be asked; running on',
        ),
    });
    this.#timers = [
      setInterval(() => this.#turn(() => this.#judge()), JUDGE_MS),
      setInterval(() => this.#turn(() => this.#reportAndCatchUp()), REPORT_MS),
    ];
  }

  /** Another process follows the centre by this name: from now on nothing is applied, judged or reported here. */
  leave(): void {
    this.#hasLeft = true;
    this.rest();
  }

  /** The proxy ends: nothing is applied, judged or reported any more, for what it refuses now says nothing about a version. */
  rest(): void {
    this.#isOver = true;
    this.#watch?.close();
    this.#watch = null;
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** Leaves the list of proxies, unless another process has its place there. */
  async close(): Promise<void> {
    const isListed = this.#followed !== null && !this.#hasLeft;
    this.leave();
    await this.#work;
    const { centre, name } = this.#options;
    if (isListed) await withDeadline(centre.forget(name), FORGET_MS, centre.store.address).catch(() => {});
    await centre.store.close();
  }

  #turn(act: () => Promise<void>): void {
    const actUnlessLeft = () => (this.#isOver ? Promise.resolve() : act());
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
    const before = this.#head?.stage?.key;
    try {
      this.#head = centre.readHead(text);
    } catch (error) {
      this.#followed?.log.error({ error: (error as Error).message }, 'the config centre holds garbage; running on');
      return;
    }
    if (this.#head.stage?.key !== before) this.#stagedSinceMs = this.#options.wallClock();
    this.#refusedKey = null;
    this.#turn(() => this.#catchUp());
  }

  /** Brings the proxy to what the head has for it. */
  async #catchUp(): Promise<void> {
    if (this.#head === null) return;
    this.#isBehind = false;
    const { key, stage } = this.#head;
    const staged = stage?.proxies.includes(this.name) === true ? stage : null;
    if (this.#withdrawing?.key !== staged?.key) this.#withdrawing = null;
    // Found good here, and on trial elsewhere.
    if (staged?.key === this.#version.key) return;
    if (staged === null || staged.key !== this.#trial?.version.key) await this.#moveTo(key);
    if (staged !== null) await this.#try(staged);
  }

  async #moveTo(key: string): Promise<void> {
    await this.#endTrial();
    if (key === this.#version.key || key === this.#refusedKey) return;
    const wanted = await this.#fetch(key);
    if (wanted === null) return;
    const before = this.#version;
    this.#version = wanted;
    const problems = await this.#apply();
    if (problems === null) await this.#applied(wanted);
    else {
      this.#version = before;
      if (!this.#isOver) this.#refuse(wanted, problems);
    }
    await this.#report();
  }

  /** Begins a trial, unless it runs or has ended here. */
  async #try({ key, trialMs }: Stage): Promise<void> {
    if ([this.#trial?.version.key, this.#withdrawing?.key, this.#refusedKey].includes(key)) return;
    const version = await this.#fetch(key);
    if (version === null) return;
    const { trialTally, publish } = this.#followed as Followed;
    const before = (this.#baseline as Baseline).traffic;
    this.#trial = { version, trial: new Trial(before, trialTally(), this.#options.wallClock(), trialMs) };
    const problems = await this.#apply();
    if (problems !== null) return this.#cannotTry(version, problems);
    publish({ type: 'trial-began', number: version.number, version: version.id, forMs: trialMs });
    await this.#report();
  }

  async #judge(): Promise<void> {
    const nowMs = this.#options.wallClock();
    if (this.#withdrawing !== null) await this.#withdraw(nowMs);
    if (this.#trial === null) {
      this.#baseline?.look(nowMs);
      return this.#endAbandoned(nowMs);
    }
    const { version, trial } = this.#trial;
    const verdict = trial.verdict(nowMs);
    if (verdict.kind === 'more') await this.#widen(version, trial);
    else if (verdict.kind === 'good') await this.#pass(version, nowMs);
    else if (verdict.kind === 'bad') await this.#fail(version, verdict.reason);
  }

  async #widen(version: Version, trial: Trial): Promise<void> {
    const problems = await this.#apply();
    if (problems !== null) return this.#cannotTry(version, problems);
    if (trial.share === 1) this.#appliedWholly(version);
  }

  async #pass(version: Version, nowMs: number): Promise<void> {
    if (nowMs < this.#retryAtMs || !(await this.#tell(() => this.#options.centre.pass(version.key, this.name)))) return;
    this.#version = version;
    this.#trial = null;
    this.#isTrialInForce = false;
    this.#baseline?.skip(nowMs);
    this.#followed?.publish({ type: 'trial-passed', number: version.number, version: version.id });
    await this.#keep();
    await this.#report();
  }

  async #fail({ key, number, id }: Version, reason: string): Promise<void> {
    this.#withdrawing = { key, reason };
    await this.#endTrial();
    this.#followed?.publish({ type: 'version-withdrawn', number, version: id, reason });
    await this.#withdraw(this.#options.wallClock());
    await this.#report();
  }

  async #cannotTry(version: Version, problems: readonly string[]): Promise<void> {
    if (this.#isOver) return;
    this.#refuse(version, problems);
    this.#withdrawing = { key: version.key, reason: problems[0] ?? 'refused' };
    await this.#endTrial();
    await this.#withdraw(this.#options.wallClock());
    await this.#report();
  }

  /** What ran before the trial is in force again, or will be: it is tried again with each report. Clients first: the centre is told by whoever knows what. */
  async #endTrial(): Promise<void> {
    if (this.#trial === null && !this.#isTrialInForce) return;
    this.#trial = null;
    if (this.#isTrialInForce && (await this.#apply()) === null) this.#since = this.#now();
    this.#baseline?.skip(this.#options.wallClock());
  }

  async #withdraw(nowMs: number): Promise<void> {
    if (this.#withdrawing === null || nowMs < this.#retryAtMs) return;
    const { key, reason } = this.#withdrawing;
    if (await this.#tell(() => this.#options.centre.withdraw(key, this.name, reason))) this.#withdrawing = null;
  }

  /** Whether the centre has heard it. Said once where it has not, and not tried again for a while. */
  async #tell(say: () => Promise<unknown>): Promise<boolean> {
    try {
      await say();
      return true;
    } catch (error) {
      const { centre, wallClock } = this.#options;
      this.#retryAtMs = wallClock() + RETRY_MS;
      this.#followed?.log.warn(
        { centre: centre.store.address, error: (error as Error).message },
        'the config centre cannot be told how a trial ended; trying again',
      );
      return false;
    }
  }

  async #endAbandoned(nowMs: number): Promise<void> {
    const stage = this.#head?.stage ?? null;
    if (stage === null || nowMs < this.#retryAtMs) return;
    if (nowMs < this.#stagedSinceMs + stage.trialMs + ABANDONED_MS) return;
    const reason = 'the proxies that tried it have not judged it in time';
    await this.#tell(() => this.#options.centre.withdraw(stage.key, this.name, reason));
  }

  async #fetch(key: string): Promise<Version | null> {
    try {
      return await this.#options.centre.version(key);
    } catch (error) {
      this.#followed?.log.error(
        { version: key, error: (error as Error).message },
        'a version cannot be had from the config centre; running on',
      );
      this.#isBehind = true;
      return null;
    }
  }

  /** Puts what is wanted in force. Resolves with why that cannot be; null when it is. */
  async #apply(): Promise<readonly string[] | null> {
    const isForTrial = this.#trial !== null;
    const result = await (this.#followed as Followed).apply();
    if (result.accepted) {
      this.#isTrialInForce = isForTrial;
      return null;
    }
    return result.problems.length > 0 ? result.problems.map(formatProblem) : [result.message];
  }

  async #applied(version: Version): Promise<void> {
    this.#appliedWholly(version);
    await this.#keep();
  }

  #appliedWholly({ number, id, author }: Version): void {
    this.#since = this.#now();
    this.#refused = null;
    this.#followed?.publish({ type: 'version-applied', number, version: id, author });
  }

  #refuse({ id, number, key }: Version, problems: readonly string[]): void {
    this.#refused = { id, number, problems };
    this.#refusedKey = key;
    this.#followed?.publish({ type: 'version-refused', number, version: id, problems });
  }

  async #reportAndCatchUp(): Promise<void> {
    if (this.#isBehind || (this.#isTrialInForce && this.#trial === null)) await this.#catchUp();
    await this.#report();
  }

  async #report(): Promise<void> {
    const { id, number } = this.running;
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

  async #keep(): Promise<void> {
    const { cache } = this.#options;
    try {
      await cache.keep(this.#version);
    } catch (error) {
      this.#followed?.log.warn(
        { file: cache.path, error: (error as Error).message },
        'the version in force cannot be kept: a start without the config centre would fail',
      );
    }
  }

  #now(): string {
    return new Date(this.#options.wallClock()).toISOString();
  }
}
