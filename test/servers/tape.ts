import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** An answer over HTTP as the real server gave it. */
export interface RecordedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What a real server did from one act of a test to the next. */
interface Segment {
  readonly act: string;
  /** By `METHOD path`, in their order; equal ones in a row once. */
  readonly http: Record<string, RecordedAnswer[]>;
  /** By request, in their order; gRPC messages in base64. */
  readonly grpc: Record<string, string[]>;
  /** Of its own accord, on the stream. */
  readonly pushes: string[];
}

interface TapeFile {
  /** Which server it was, and when: a recording is worth as much as its origin. */
  readonly origin: string;
  readonly recordedAt: string;
  /** Of the endpoints that were really there. */
  readonly ports: readonly number[];
  /** What the server says on a new stream. */
  readonly greeting: string[];
  readonly segments: Segment[];
}

/**
 * What a real server answered during one test, and nothing that it did not. A test's acts (somebody registers, the server goes) divide it: to a request the
 * answers of the present segment are given in their order, the last again and again, or the last of an earlier segment where nobody asked in this one.
 */
export class Tape {
  readonly #file: TapeFile;
  readonly #path: string;
  readonly #served = new Map<string, number>();
  #at = 0;

  private constructor(path: string, file: TapeFile) {
    this.#path = path;
    this.#file = file;
  }

  static load(name: string): Tape {
    const path = pathOf(name);
    return new Tape(path, JSON.parse(readFileSync(path, 'utf8')) as TapeFile);
  }

  static empty(name: string, origin: string, ports: readonly number[]): Tape {
    const segments = [{ act: 'begin', http: {}, grpc: {}, pushes: [] }];
    return new Tape(pathOf(name), { origin, recordedAt: new Date().toISOString(), ports, greeting: [], segments });
  }

  get recordedAt(): Date {
    return new Date(this.#file.recordedAt);
  }

  get ports(): readonly number[] {
    return this.#file.ports;
  }

  get greeting(): string[] {
    return this.#file.greeting;
  }

  /** The next segment while recording. */
  begin(act: string): void {
    this.#file.segments.push({ act, http: {}, grpc: {}, pushes: [] });
    this.#at++;
  }

  /** The next segment while replaying: what the server then said of its own accord. */
  advance(act: string): string[] {
    const next = this.#file.segments[this.#at + 1];
    if (next?.act !== act)
      throw new Error(`${this.#path}: after "${this.#now.act}" comes "${next?.act}", not "${act}"`);
    this.#at++;
    this.#served.clear();
    return next.pushes;
  }

  addAnswer(key: string, answer: RecordedAnswer): void {
    this.#now.http[key] ??= [];
    const list = this.#now.http[key];
    const last = list.at(-1);
    if (last?.status !== answer.status || last.body !== answer.body) list.push(answer);
  }

  addMessage(key: string, message: Buffer): void {
    this.#now.grpc[key] ??= [];
    const list = this.#now.grpc[key];
    const text = message.toString('base64');
    if (list.at(-1) !== text) list.push(text);
  }

  addPush(message: Buffer): void {
    this.#now.pushes.push(message.toString('base64'));
  }

  answer(key: string): RecordedAnswer {
    return this.#next('http', key);
  }

  message(key: string): Buffer {
    return Buffer.from(this.#next<string>('grpc', key), 'base64');
  }

  save(): void {
    mkdirSync(dirname(this.#path), { recursive: true });
    writeFileSync(this.#path, `${JSON.stringify(this.#file, null, 1)}\n`);
  }

  get #now(): Segment {
    return this.#file.segments[this.#at];
  }

  #next<T>(kind: 'http' | 'grpc', key: string): T {
    for (let at = this.#at; at >= 0; at--) {
      const list = this.#file.segments[at][kind][key] as T[] | undefined;
      if (list === undefined) continue;
      if (at < this.#at) return list[list.length - 1];
      const served = this.#served.get(key) ?? 0;
      this.#served.set(key, served + 1);
      return list[Math.min(served, list.length - 1)];
    }
    throw new Error(`${this.#path}: in "${this.#now.act}" nobody asked the real server for ${key}`);
  }
}

function pathOf(name: string): string {
  return join(import.meta.dirname, 'tapes', `${name}.json`);
}
