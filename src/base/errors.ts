/** One thing wrong with a configuration document, at its place in the file. */
export interface ConfigProblem {
  /** Absolute path of the file, or the address of a document that came from a registry. */
  readonly file: string;
  /** 1-based; 0 when the place is unknown (a key that is missing altogether). */
  readonly line: number;
  readonly column: number;
  /** Dotted path into the document, e.g. `pools.orders.timeouts.connect`. */
  readonly path: string;
  /** What was found and what would be right, as one sentence. */
  readonly message: string;
}

/** Thrown when a document cannot be used: carries every problem at once. Nothing was started when it is thrown. */
export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super(problems.map(formatProblem).join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** `FILE:LINE:COLUMN  path.to.key  what is wrong; what would be right`. */
export function formatProblem(problem: ConfigProblem): string {
  return `${problem.file}:${problem.line}:${problem.column}  ${problem.path || '(document)'}  ${problem.message}`;
}

/** What went wrong in the control plane. `retryable` tells the caller whether waiting can help. Logged once, where it is handled. */
export class OperationError extends Error {
  readonly code: string;
  readonly retryable: boolean;

  constructor(code: string, message: string, options: { retryable?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'OperationError';
    this.code = code;
    this.retryable = options.retryable ?? false;
  }
}

/** A broken promise inside the program: never caused by traffic, a registry or a document. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${message}`);
}
