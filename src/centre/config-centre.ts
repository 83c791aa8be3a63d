import type { z } from 'zod';
import { OperationError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { parseSaved } from '../base/saved-file.ts';
import { Questions } from './questions.ts';
import type { Store } from './store.ts';
import {
  FORMAT,
  type Head,
  headSchema,
  idOf,
  type ProxyReport,
  reportSchema,
  type Stage,
  type Version,
  versionSchema,
} from './version.ts';

/** Older versions are removed when a new one is accepted. */
export const KEPT_VERSIONS = 500;
const HEAD = 'head';
const VERSIONS = 'versions';
const PROXIES = 'proxies';
/** A proxy that has said nothing for so long is not counted when a stage is chosen. */
export const REPORT_MS = 5000;
export const GONE_MS = 4 * REPORT_MS;
/** Nobody asks after a proxy that has been away for so long. */
const FORGOTTEN_MS = 24 * 3_600_000;

/** What is pushed. The caller has judged the document. */
export interface Push {
  readonly document: string;
  readonly author: string;
  readonly message: string;
  /** What the pusher took for the head (0: nothing yet); null = whatever it is. Another one by now is a refusal. */
  readonly onto: number | null;
  /** Where it is tried first; null = everywhere at once. */
  readonly trial: Trial | null;
}

/** Who tries a version: so many of the living proxies, a share of them (0…1, at least one), or these by name. */
export interface Trial {
  readonly proxies: { readonly count: number } | { readonly share: number } | { readonly names: readonly string[] };
  readonly trialMs: number;
}

export interface Current {
  readonly head: Head;
  /** For `put`: the head as it was read. */
  readonly revision: string;
}

/**
 * The versions of a document in a store, and which of them is in force. Versions are written once under keys of their own and chained by `parent`; what is
 * decided stands in one key, the head, which is only ever written with check-and-set: of two writers one is told. There is no server: every call works on
 * the store. All methods reject with an OperationError.
 */
export class ConfigCentre {
  readonly store: Store;
  readonly questions: Questions;
  readonly #wallClock: () => number;
  readonly #random: Random;

  /** `wallClock`: ms since 1970; times are compared between machines. */
  constructor(store: Store, { wallClock, random }: { readonly wallClock: () => number; readonly random: Random }) {
    this.store = store;
    this.questions = new Questions(store, { wallClock, random });
    this.#wallClock = wallClock;
    this.#random = random;
  }

  /** Null when nothing was ever pushed. */
  async current(): Promise<Current | null> {
    const stored = await this.store.get(HEAD);
    if (stored === null) return null;
    return { head: this.readHead(stored.text), revision: stored.revision };
  }

  /** Throws an OperationError when the text is no head of ours. */
  readHead(text: string): Head {
    return this.#parse(text, headSchema, HEAD);
  }

  watchHead(sink: Parameters<Store['watch']>[1]): { close(): void } {
    return this.store.watch(HEAD, sink);
  }

  async version(key: string): Promise<Version> {
    const stored = await this.store.get(`${VERSIONS}/${key}`);
    if (stored === null) throw new OperationError('no-version', `${this.store.address} does not hold version ${key}`);
    const version = this.#parse(stored.text, versionSchema, key);
    if (idOf(version.document) !== version.id)
      throw new OperationError(
        'garbled',
        `version ${key} of ${this.store.address} is not what was pushed: its text was changed`,
      );
    return version;
  }

  /** Newest first, beginning with the head (and before it a version on trial). */
  async history(limit: number): Promise<Version[]> {
    const versions: Version[] = [];
    if (limit <= 0) return versions;
    for await (const version of this.#line(await this.current())) {
      versions.push(version);
      if (versions.length === limit) break;
    }
    return versions;
  }

  /** From the version on trial or in force back to the oldest that is kept, each read when it is asked for. */
  async *#line(current: Current | null): AsyncGenerator<Version> {
    let key = current === null ? null : (current.head.stage?.key ?? current.head.key);
    for (let isFirst = true; key !== null; isFirst = false) {
      const version: Version | null = await this.version(key).catch((error: OperationError) => {
        // What was before the ones that are kept.
        if (error.code === 'no-version' && !isFirst) return null;
        throw error;
      });
      if (version === null) return;
      yield version;
      key = version.parent;
    }
  }

  /** By number, by the beginning of an id (the newest of them), or `head`. */
  async find(wanted: string): Promise<Version> {
    const current = await this.current();
    if (wanted === 'head' && current !== null) return this.version(current.head.key);
    let seen = 0;
    for await (const version of this.#line(current)) {
      if (String(version.number) === wanted || (wanted.length >= 4 && version.id.startsWith(wanted))) return version;
      if (++seen === KEPT_VERSIONS) break;
    }
    throw new OperationError(
      'no-version',
      `${this.store.address} has no version ${wanted}; evenkeel config history lists them`,
    );
  }

  /** Keeps a version and makes it the head, or puts it on trial. */
  async push({ document, author, message, onto, trial }: Push): Promise<Version> {
    const current = await this.current();
    const number = current?.head.number ?? 0;
    if (onto !== null && onto !== number)
      throw new OperationError('raced', `version ${number} is in force by now, not ${onto}: look at it and push again`);
    if (current?.head.stage != null)
      throw new OperationError(
        'staged',
        `version ${number + 1} is on trial; wait for it to end, or end it with: evenkeel config withdraw`,
      );
    const proxies = trial === null ? null : await this.#proxiesOf(trial, idOf(document));
    const version = await this.#keep(document, author, message, current?.head ?? null);
    const stage =
      trial === null || proxies === null
        ? null
        : { key: version.key, proxies, since: this.#now(), trialMs: trial.trialMs, passed: [] };
    const next: Head =
      stage === null || current === null
        ? { key: version.key, number: version.number, stage: null, withdrawn: null }
        : { ...current.head, stage, withdrawn: null };
    await this.#decide(next, current, version.key);
    await this.#prune(version.number).catch(() => {});
    return version;
  }

  /** The content of an earlier version as a new one. The caller has judged it. */
  async rollback(to: Version, author: string, message: string): Promise<Version> {
    return this.push({ document: to.document, author, message, onto: null, trial: null });
  }

  /** Ends a trial. False when that trial is over already. */
  async withdraw(key: string, proxy: string, reason: string): Promise<boolean> {
    return this.#settle(key, (head) => ({
      ...head,
      stage: null,
      withdrawn: { key, proxy, reason, time: this.#now() },
    }));
  }

  /** A proxy found the version on trial good; the last of them makes it the head. False when that trial is over already. */
  async pass(key: string, proxy: string): Promise<boolean> {
    return this.#settle(key, (head) => {
      const stage = head.stage as Stage;
      const passed = [...new Set([...stage.passed, proxy])];
      if (stage.proxies.some((name) => !passed.includes(name))) return { ...head, stage: { ...stage, passed } };
      return { key, number: head.number + 1, stage: null, withdrawn: null };
    });
  }

  async report(report: ProxyReport): Promise<void> {
    await this.store.set(`${PROXIES}/${report.name}`, JSON.stringify({ format: FORMAT, ...report }));
  }

  async forget(proxy: string): Promise<void> {
    await this.store.remove(`${PROXIES}/${proxy}`);
  }

  /** What proxies said last, by name; those that have been away for long are removed. */
  async reports(): Promise<ProxyReport[]> {
    const reports: ProxyReport[] = [];
    for (const name of (await this.store.list(PROXIES)).sort()) {
      const stored = await this.store.get(`${PROXIES}/${name}`);
      if (stored === null) continue;
      const report = parseSaved(stored.text, reportSchema, FORMAT, 'a report');
      // One that was garbled, or written by a later evenkeel, must not hide the others.
      if (typeof report === 'string') continue;
      if (this.ageOf(report) > FORGOTTEN_MS) await this.forget(name);
      else reports.push(report);
    }
    return reports;
  }

  /** Names of the proxies that have spoken lately, the last one first. */
  async living(): Promise<string[]> {
    const reports = (await this.reports()).filter((report) => this.ageOf(report) < GONE_MS);
    return reports.sort((a, b) => this.ageOf(a) - this.ageOf(b)).map(({ name }) => name);
  }

  /** Time since a proxy spoke, in ms, by the clocks of both. */
  ageOf({ time }: ProxyReport): number {
    return Math.max(0, this.#wallClock() - Date.parse(time));
  }

  async #keep(document: string, author: string, message: string, head: Head | null): Promise<Version> {
    const number = (head?.number ?? 0) + 1;
    const id = idOf(document);
    const nonce = Math.floor(this.#random() * 0x1_0000_0000)
      .toString(16)
      .padStart(8, '0');
    const key = `${number}-${id}-${nonce}`;
    const version: Version = {
      number,
      id,
      key,
      parent: head?.key ?? null,
      author,
      time: this.#now(),
      message,
      document,
    };
    const isNew = await this.store.put(`${VERSIONS}/${key}`, JSON.stringify({ format: FORMAT, ...version }), null);
    if (!isNew) throw new OperationError('raced', 'another writer chose the same key; push again', { retryable: true });
    return version;
  }

  async #decide(next: Head, current: Current | null, key: string): Promise<void> {
    const text = JSON.stringify({ format: FORMAT, ...next });
    if (await this.store.put(HEAD, text, current?.revision ?? null)) return;
    await this.store.remove(`${VERSIONS}/${key}`).catch(() => {});
    throw new OperationError(
      'raced',
      'somebody else pushed at the same time: look at what is in force now and push again',
    );
  }

  async #settle(key: string, change: (head: Head) => Head): Promise<boolean> {
    for (;;) {
      const current = await this.current();
      if (current?.head.stage?.key !== key) return false;
      const text = JSON.stringify({ format: FORMAT, ...change(current.head) });
      if (await this.store.put(HEAD, text, current.revision)) return true;
    }
  }

  async #proxiesOf({ proxies }: Trial, id: string): Promise<readonly string[]> {
    const chosen = chooseProxies(await this.living(), proxies, id);
    if (chosen.length === 0)
      throw new OperationError('no-proxies', 'no living proxy fits the stage: evenkeel config status lists them');
    return chosen;
  }

  async #prune(number: number): Promise<void> {
    if (number <= KEPT_VERSIONS) return;
    for (const key of await this.store.list(VERSIONS))
      if (Number.parseInt(key, 10) <= number - KEPT_VERSIONS) await this.store.remove(`${VERSIONS}/${key}`);
  }

  #parse<T extends z.ZodType>(text: string, schema: T, what: string): z.output<T> {
    const parsed = parseSaved(text, schema, FORMAT, 'what evenkeel keeps there');
    if (typeof parsed !== 'string') return parsed as z.output<T>;
    throw new OperationError('garbled', `${what} in ${this.store.address} cannot be used: ${parsed}`);
  }

  #now(): string {
    return new Date(this.#wallClock()).toISOString();
  }
}

/** Each version tries other proxies first: the order is by a hash of both. */
function chooseProxies(living: readonly string[], wanted: Trial['proxies'], id: string): string[] {
  if ('names' in wanted) {
    const missing = wanted.names.filter((name) => !living.includes(name));
    if (missing.length > 0)
      throw new OperationError(
        'no-proxies',
        `no living proxy is called ${missing.join(', ')}; there are: ${living.join(', ')}`,
      );
    return [...wanted.names];
  }
  const count = 'count' in wanted ? wanted.count : Math.max(1, Math.round(wanted.share * living.length));
  return living
    .map((name) => [idOf(id + name), name] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, count)
    .map(([, name]) => name);
}
