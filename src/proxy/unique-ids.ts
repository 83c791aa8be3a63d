import { randomBytes } from 'node:crypto';

/** Identifiers of connections, different over threads, processes and restarts. One per worker. */
export class UniqueIds {
  readonly #prefix = randomBytes(10);
  #count = 0;

  /** 16 bytes. */
  next(): Buffer {
    const id = Buffer.alloc(16);
    this.#prefix.copy(id);
    id.writeUIntBE(++this.#count, 10, 6);
    return id;
  }
}
