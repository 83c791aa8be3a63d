import { createHmac } from 'node:crypto';
import { z } from 'zod';
import { duration } from '../base/literals.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';

/** Options of `pools.NAME.affinity`. */
export const affinityOptions = z.strictObject({
  cookie: z
    .string()
    .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/, { error: 'a cookie name is one word' })
    .describe('name of the cookie that keeps a client at its endpoint'),
  secret: z
    .string()
    .min(16)
    .optional()
    .describe(
      'signs the cookie: evenkeels with the same one understand each other; default: one kept in runtime.state',
    ),
  secure: z
    .enum(['auto', 'always', 'never'])
    .prefault('auto')
    .describe('the Secure attribute; auto: where the client came over TLS'),
  httpOnly: z.boolean().prefault(true).describe('whether scripts of the page cannot read it'),
  sameSite: z.enum(['Lax', 'Strict', 'None']).prefault('Lax').describe('the SameSite attribute'),
  maxAge: duration(Number.POSITIVE_INFINITY)
    .optional()
    .describe('how long the client keeps it; default: until it is closed'),
  path: z
    .string()
    .regex(/^\/[\x21-\x3a\x3c-\x7e]*$/, { error: 'begins with / and has no ; or blank' })
    .prefault('/')
    .describe('the Path attribute'),
});
export type AffinityOptions = z.output<typeof affinityOptions>;

/** Bytes of the HMAC that a cookie carries: nobody without the key can make one, or learn an address from it. */
const TOKEN_BYTES = 18;
const SEMICOLON = 0x3b;
const EQUALS = 0x3d;

interface Bound {
  readonly token: string;
  readonly plainLine: string;
  readonly secureLine: string;
}

/**
 * Keeps clients at their endpoints by a cookie. The cookie is an HMAC of pool and address: opaque, the same on every worker and in every evenkeel with the key. Who is
 * not available is not found, so a client of a drained or ejected endpoint is given another and a new cookie; what nobody here signed is found by nobody. One
 * per pool and worker, made only where affinity is on.
 */
export class Affinity {
  readonly #options: AffinityOptions;
  readonly #pool: string;
  readonly #key: string | Uint8Array;
  readonly #name: Buffer;
  readonly #bound = new Map<Endpoint, Bound>();
  readonly #available = new Map<string, Endpoint>();

  constructor(pool: string, options: AffinityOptions, key: Uint8Array) {
    this.#pool = pool;
    this.#options = options;
    this.#key = options.secret ?? key;
    this.#name = Buffer.from(options.cookie, 'latin1');
  }

  /** A new set, or a new selection of it. */
  update(all: readonly Endpoint[], available: readonly Endpoint[]): void {
    const members = new Set(all);
    for (const endpoint of this.#bound.keys()) if (!members.has(endpoint)) this.#bound.delete(endpoint);
    this.#available.clear();
    for (const endpoint of available) this.#available.set(this.#boundOf(endpoint).token, endpoint);
  }

  /** The available endpoint that one Cookie line names, buf[start, end); null when it names none. */
  find(buf: Buffer, start: number, end: number): Endpoint | null {
    for (let p = start; p < end; p++) {
      while (p < end && (buf[p] === 0x20 || buf[p] === 0x09)) p++;
      const from = p;
      while (p < end && buf[p] !== SEMICOLON) p++;
      const value = from + this.#name.length + 1;
      if (value > p || buf[value - 1] !== EQUALS || this.#name.compare(buf, from, value - 1) !== 0) continue;
      const found = this.#available.get(buf.toString('latin1', value, p).trimEnd());
      if (found !== undefined) return found;
    }
    return null;
  }

  /** The value of Set-Cookie that binds a client to an endpoint. */
  setCookie(endpoint: Endpoint, isSecure: boolean): string {
    const { plainLine, secureLine } = this.#boundOf(endpoint);
    const { secure } = this.#options;
    return secure === 'always' || (secure === 'auto' && isSecure) ? secureLine : plainLine;
  }

  #boundOf(endpoint: Endpoint): Bound {
    let bound = this.#bound.get(endpoint);
    if (bound === undefined) {
      const mac = createHmac('sha256', this.#key).update(`${this.#pool}\n${endpoint.id}`).digest();
      const token = mac.subarray(0, TOKEN_BYTES).toString('base64url');
      const { cookie, httpOnly, sameSite, maxAge, path } = this.#options;
      const age = maxAge === undefined ? '' : `; Max-Age=${Math.round(maxAge / 1000)}`;
      const plainLine = `${cookie}=${token}; Path=${path}${age}; SameSite=${sameSite}${httpOnly ? '; HttpOnly' : ''}`;
      bound = { token, plainLine, secureLine: `${plainLine}; Secure` };
      this.#bound.set(endpoint, bound);
    }
    return bound;
  }
}
