import { gzipSync } from 'node:zlib';

/** Below it gzip costs more than it saves. */
const GZIP_FROM = 1024;

/** One JSON answer, encoded once and sent to any number of clients. */
export class Answer {
  readonly body: Buffer;
  #gzip: Buffer | null = null;

  /** `pretty` is Consul's: four spaces and a newline at the end. */
  constructor(value: unknown, pretty: boolean) {
    this.body = Buffer.from(pretty ? `${JSON.stringify(value, null, 4)}\n` : JSON.stringify(value));
  }

  /** Bytes it may occupy, the compressed form counted as if it did not compress. */
  get size(): number {
    return this.body.length * 2;
  }

  /** The compressed form, made for the first who asks; null when it is not worth it. */
  gzip(): Buffer | null {
    if (this.body.length < GZIP_FROM) return null;
    this.#gzip ??= gzipSync(this.body, { level: 1 });
    return this.#gzip;
  }
}
