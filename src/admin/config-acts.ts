/** Requests of the sampled window with the same fate. */
export interface ReplayGroup {
  readonly listener: string;
  /** `route → pool`, where they went. */
  readonly from: string;
  /** `route → pool` where they would go, or why they would fail. */
  readonly to: string;
  readonly requests: number;
  /** One of them: method, host and path. */
  readonly example: string;
}

/** What another document would do with the last sampled requests. */
export interface Replay {
  readonly sampled: number;
  readonly moved: readonly ReplayGroup[];
  readonly failing: readonly ReplayGroup[];
  /** Nobody can say: a route asks for something that was not kept of them. */
  readonly unknown: number;
}

/** How a document fares here: against the schema, and against what this proxy knows, has bound and could bind. */
export interface Judgement {
  /** Its content hash, as proxies call it. */
  readonly id: string;
  /** Why it would be refused; empty when it would be taken. */
  readonly problems: readonly string[];
  /** What cannot be judged here: for that a file or a variable would have to be read, or a secret sent. */
  readonly unjudged: readonly string[];
  /** What differs from the document in force by meaning, a line each. */
  readonly changes: readonly string[];
  /** Null with problems that leave no document to send requests through. */
  readonly replay: Replay | null;
}

/** Who pushes, and why. */
export interface Signed {
  readonly author: string;
  readonly message: string;
}

/** The version in force, for a person to recognise. */
export interface RunningVersion extends Signed {
  readonly centre: string;
  /** What this proxy is called there. */
  readonly proxy: string;
  readonly number: number;
  readonly id: string;
  readonly time: string;
  readonly isOnTrial: boolean;
  /** Of the last version that was refused here; null when none is. */
  readonly refused: { readonly number: number; readonly problems: readonly string[] } | null;
}

/**
 * What the admin API does with the config centre that a proxy's document lives in; the composition root provides it. Every method rejects with an OperationError
 * (`no-version`, `raced`, `staged`, `no-proxies`, otherwise the centre's trouble), `push` and `rollback` with a ConfigError too. Answers are plain JSON.
 */
export interface CentreActs {
  readonly running: RunningVersion;
  history(limit: number): Promise<readonly object[]>;
  /** By number, beginning of its id, or `head`; with its document. */
  version(wanted: string): Promise<object>;
  /** What differs by meaning, a line each. */
  diff(from: string, to: string): Promise<readonly string[]>;
  /** What each proxy runs, and why it refused what it does not run. */
  status(): Promise<object>;
  push(document: string, signed: Signed, onto: number | null): Promise<object>;
  rollback(wanted: string, signed: Signed): Promise<object>;
  /** False when no version is on trial. */
  withdraw(signed: Signed): Promise<boolean>;
}
