import { randomBytes } from 'node:crypto';

/** 16 bytes of name, 16 of HMAC and 16 of AES key, as OpenSSL wants them. */
const BYTES = 48;
/** A session that was given under keys that are gone costs its client one full handshake. */
const ROTATE_MS = 12 * 60 * 60 * 1000;

/** The keys of TLS session tickets, on main: the same for all workers, so that a session resumes on any of them; new ones twice a day, kept over reloads. */
export class TicketKeys {
  #keys: Uint8Array = randomBytes(BYTES);
  #timer: NodeJS.Timeout | null = null;

  get current(): Uint8Array {
    return this.#keys;
  }

  /** Goes on with the keys of the process before this one: its sessions resume. */
  inherit(base64: string): void {
    const keys = Buffer.from(base64, 'base64');
    if (keys.length === BYTES) this.#keys = new Uint8Array(keys);
  }

  /** `onRotated` is called when there are new ones. */
  start(onRotated: () => void): void {
    this.#timer = setInterval(() => {
      this.#keys = randomBytes(BYTES);
      onRotated();
    }, ROTATE_MS);
    this.#timer.unref();
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }
}
