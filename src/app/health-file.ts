import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Clock } from '../base/clock.ts';
import { parseSaved, replaceFile } from '../base/saved-file.ts';
import type { RememberedEndpoint } from '../pool/remembered.ts';
import type { Logger } from '../telemetry/log.ts';

/** Raised when the file's meaning changes; a file with a higher number is not read. */
const FORMAT = 1;
/** What is older says little about an endpoint. */
const MAX_AGE_MS = 5 * 60_000;
/** Between two writes; longer where there is much to write, so that main spends no more than a thousandth of its time on it. */
const WRITE_EVERY_MS = 10_000;
const WRITE_EVERY_MS_PER_ENDPOINT = 10;

const file = z.object({
  format: z.literal(FORMAT),
  savedAt: z.number(),
  pools: z.record(
    z.string(),
    z.array(
      z.object({
        id: z.string(),
        generation: z.string(),
        latency: z.object({ ms: z.number().nonnegative(), ageMs: z.number().nonnegative() }).nullable(),
        ejectedForMs: z.number().nonnegative(),
        ejections: z.int().nonnegative(),
        failuresInRow: z.int().nonnegative(),
        readyForMs: z.number().nonnegative(),
        unfit: z.string().nullable(),
      }),
    ),
  ),
});

export interface HealthFileOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Everything worth keeping, by pool. */
  readonly remember: () => Readonly<Record<string, readonly RememberedEndpoint[]>>;
  /** Ms since 1970: ages have to outlive the process. */
  readonly wallClock?: () => number;
}

/**
 * What is known of the endpoints, on disk, so that a restart neither uses a bad one anew nor starts a good one cold. On main: `load` once before the
 * first endpoint, `look` about every 100 ms, `close` at the end. Writes are atomic; a file that cannot be read or written is said once and stops nothing.
 */
export class HealthFile {
  readonly #options: Required<HealthFileOptions>;
  readonly #known = new Map<string, RememberedEndpoint>();
  #knownAtMs = 0;
  #nextWriteMs: number;
  #writing: Promise<void> = Promise.resolve();
  #isFailing = false;

  constructor(options: HealthFileOptions) {
    this.#options = { wallClock: Date.now, ...options };
    this.#nextWriteMs = options.clock.now() + WRITE_EVERY_MS;
  }

  load(): void {
    const { path, clock, log, wallClock } = this.#options;
    const saved = read(path);
    if (saved === null) return;
    const ageMs = typeof saved === 'string' ? 0 : Math.max(0, wallClock() - saved.savedAt);
    const refusal =
      typeof saved === 'string' ? saved : ageMs > MAX_AGE_MS ? `it is ${Math.round(ageMs / 1000)} s old` : null;
    if (typeof saved === 'string' || refusal !== null) {
      log.warn({ path, reason: refusal }, 'saved health is not used');
      return;
    }
    this.#knownAtMs = clock.now() - ageMs;
    this.#know(saved.pools);
    log.info({ path, endpoints: this.#known.size, ageMs: Math.round(ageMs) }, 'health of an earlier process is used');
  }

  /** The same, told by a process that still runs. */
  inherit(pools: Readonly<Record<string, readonly RememberedEndpoint[]>>): void {
    this.#knownAtMs = this.#options.clock.now();
    this.#know(pools);
  }

  #know(pools: Readonly<Record<string, readonly RememberedEndpoint[]>>): void {
    for (const [pool, endpoints] of Object.entries(pools))
      for (const endpoint of endpoints) this.#known.set(`${pool}\0${endpoint.id}`, endpoint);
  }

  /** What was known of an endpoint, and how long ago; given once, for it is no longer true of an endpoint that leaves and returns. */
  readonly recall = (pool: string, id: string): { known: RememberedEndpoint; sinceMs: number } | null => {
    const key = `${pool}\0${id}`;
    const known = this.#known.get(key);
    if (known === undefined) return null;
    this.#known.delete(key);
    const sinceMs = this.#options.clock.now() - this.#knownAtMs;
    return sinceMs > MAX_AGE_MS ? null : { known, sinceMs };
  };

  /** Writes when it is time. */
  look(): void {
    if (this.#options.clock.now() >= this.#nextWriteMs) this.#write();
  }

  /** Writes a last time. */
  close(): Promise<void> {
    this.#write();
    return this.#writing;
  }

  #write(): void {
    const { clock, wallClock, remember } = this.#options;
    const pools = remember();
    const count = Object.values(pools).reduce((sum, endpoints) => sum + endpoints.length, 0);
    this.#nextWriteMs = clock.now() + Math.max(WRITE_EVERY_MS, count * WRITE_EVERY_MS_PER_ENDPOINT);
    const text = JSON.stringify({ format: FORMAT, savedAt: wallClock(), pools });
    this.#writing = this.#writing.then(() => this.#replace(text));
  }

  async #replace(text: string): Promise<void> {
    const { path, log } = this.#options;
    try {
      await replaceFile(path, text);
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing) log.warn({ path, error: String(error) }, 'health cannot be saved; going on without');
      this.#isFailing = true;
    }
  }
}

/** The content, null when there is none, or what is wrong with it. */
function read(path: string): z.infer<typeof file> | string | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? null : String(error);
  }
  return parseSaved(text, file, FORMAT, 'the health of endpoints');
}
