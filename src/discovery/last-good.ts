import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../base/clock.ts';
import { parseSaved, replaceFile } from '../base/saved-file.ts';
import { cleanSet, fingerprint } from './clean-set.ts';
import type { RegistryContext, RegistryEndpoint, ServiceRef } from './registry.ts';

/** Raised when the file's meaning changes; files with a higher number are left alone. */
const FORMAT = 1;

/** A set that did not change is written again this often, so that its age says when it was last known to be true. */
const REWRITE_MS = 3_600_000;

const file = z.object({
  format: z.literal(FORMAT),
  savedAt: z.number(),
  endpoints: z.array(
    z.object({
      host: z.string(),
      port: z.number(),
      weight: z.number(),
      zone: z.string(),
      version: z.string(),
      backup: z.boolean(),
      status: z.enum(['up', 'warning', 'down', 'draining', 'unknown']),
      tags: z.array(z.string()),
      metadata: z.record(z.string(), z.string()),
      generation: z.string(),
    }),
  ),
});

/** A set as an earlier process left it. */
export interface SavedSet {
  readonly endpoints: readonly RegistryEndpoint[];
  /** How long ago it was known to be true, in ms of the wall clock. */
  readonly ageMs: number;
}

export interface LastGoodOptions {
  /** Made when it is not there. Two processes may share it; the last writer wins. Null: nothing is kept. */
  readonly directory: string | null;
  readonly clock: Clock;
  readonly log: RegistryContext['log'];
  /** Ms since 1970: ages have to outlive the process, so the monotonic clock does not do. */
  readonly wallClock?: () => number;
  /** Older sets are not used. */
  readonly maxAgeMs?: number;
  /** Between two writes of one service. */
  readonly writeEveryMs?: number;
}

interface Entry {
  readonly path: string;
  readonly registry: string;
  readonly service: ServiceRef;
  endpoints: readonly RegistryEndpoint[];
  fingerprint: string;
  savedMs: number;
  writtenMs: number;
  isDirty: boolean;
  timer: NodeJS.Timeout | null;
}

/**
 * The last good set of each service on disk, so that a proxy can start while its registry is away. Called by ServiceFeed: `load` once before
 * anything is known, `save` after every answer that is believed. Writes are atomic, one at a time and rare; a disk that fails is reported once and
 * never stops anything.
 */
export class LastGoodStore {
  readonly #options: Required<LastGoodOptions>;
  readonly #entries = new Map<string, Entry>();
  #writing: Promise<void> = Promise.resolve();
  #isFailing = false;
  #closed = false;

  constructor(options: LastGoodOptions) {
    this.#options = { wallClock: Date.now, maxAgeMs: 24 * 3_600_000, writeEveryMs: 5000, ...options };
  }

  /** What was saved last in this process (a reload may ask anew), or else what is on disk for a service; null when there is nothing that can be used. Synchronous: it happens before the service is served. */
  load(registry: string, service: ServiceRef): SavedSet | null {
    const name = fileName(registry, service);
    const own = this.#entries.get(name);
    if (own !== undefined) return { endpoints: own.endpoints, ageMs: this.#options.clock.now() - own.savedMs };
    if (this.#options.directory === null) return null;
    const path = join(this.#options.directory, name);
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#refuse(path, String(error));
      return null;
    }
    const saved = parseSaved(text, file, FORMAT, 'a set of endpoints');
    if (typeof saved === 'string') return this.#refuse(path, saved);
    const ageMs = Math.max(0, this.#options.wallClock() - saved.savedAt);
    if (ageMs > this.#options.maxAgeMs) return this.#refuse(path, `it is ${Math.round(ageMs / 3_600_000)} hours old`);
    return { endpoints: cleanSet(saved.endpoints).endpoints, ageMs };
  }

  /** Remembers a set that is known to be true now. Returns at once; writes at most once in `writeEveryMs`. */
  save(registry: string, service: ServiceRef, endpoints: readonly RegistryEndpoint[]): void {
    const { directory } = this.#options;
    if (this.#closed || directory === null) return;
    const entry = this.#entryOf(directory, registry, service);
    const now = this.#options.clock.now();
    entry.savedMs = now;
    if (entry.endpoints !== endpoints) {
      const print = fingerprint(endpoints);
      entry.isDirty ||= print !== entry.fingerprint;
      entry.endpoints = endpoints;
      entry.fingerprint = print;
    }
    if (now - entry.writtenMs >= REWRITE_MS) entry.isDirty = true;
    if (!entry.isDirty || entry.timer !== null) return;
    const waitMs = Math.max(0, entry.writtenMs + this.#options.writeEveryMs - now);
    entry.timer = setTimeout(() => {
      entry.timer = null;
      this.#write(entry);
    }, waitMs);
  }

  /** Writes what is not yet written. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const entry of this.#entries.values()) {
      if (entry.timer !== null) clearTimeout(entry.timer);
      entry.timer = null;
      if (entry.isDirty) this.#write(entry);
    }
    await this.#writing;
  }

  #entryOf(directory: string, registry: string, service: ServiceRef): Entry {
    const name = fileName(registry, service);
    let entry = this.#entries.get(name);
    if (entry === undefined) {
      const path = join(directory, name);
      const empty = {
        endpoints: [],
        fingerprint: '',
        savedMs: 0,
        writtenMs: Number.NEGATIVE_INFINITY,
        isDirty: false,
        timer: null,
      };
      entry = { path, registry, service, ...empty };
      this.#entries.set(name, entry);
    }
    return entry;
  }

  #write(entry: Entry): void {
    entry.isDirty = false;
    entry.writtenMs = this.#options.clock.now();
    // One after the other: 500 services that change together must not take the thread pool from everybody else.
    this.#writing = this.#writing.then(async () => {
      const { registry, service, endpoints, path } = entry;
      const savedAt = this.#options.wallClock();
      const text = JSON.stringify({ format: FORMAT, registry, service, savedAt, endpoints });
      try {
        await replaceFile(path, text);
        this.#isFailing = false;
      } catch (error) {
        // Tried again at the next answer.
        entry.isDirty = true;
        this.#report(error);
      }
    });
  }

  #report(error: unknown): void {
    if (this.#isFailing) return;
    this.#isFailing = true;
    const { directory, log } = this.#options;
    log('warn', 'last good endpoints cannot be saved; going on without', { directory, error: String(error) });
  }

  #refuse(path: string, reason: string): null {
    this.#options.log('warn', 'saved endpoints are not used', { path, reason });
    return null;
  }
}

/** Readable, and different for every registry, service, tags and datacenter. */
function fileName(registry: string, service: ServiceRef): string {
  const key = JSON.stringify([registry, service.name, service.tags, service.datacenter ?? '']);
  const readable = `${registry}-${service.name}`.replace(/[^a-zA-Z0-9._-]/g, '_').slice(0, 80);
  return `${readable}-${hash('sha1', key).slice(0, 12)}.json`;
}
