import type { Clock } from '../../base/clock.ts';
import { OperationError } from '../../base/errors.ts';
import type { HttpAsker } from '../http-asker.ts';

export interface NacosLogin {
  /** '' where Nacos knows no users. */
  readonly username: string;
  readonly password: string;
}

/** The token a Nacos server gives for a user and a password; asked for when it is needed, and anew when four fifths of its time are over. */
export class NacosToken {
  readonly #asker: HttpAsker;
  readonly #login: NacosLogin;
  readonly #clock: Clock;
  #token = '';
  #dueMs = Number.NEGATIVE_INFINITY;
  #asking: Promise<string> | null = null;

  constructor(asker: HttpAsker, login: NacosLogin, clock: Clock) {
    this.#asker = asker;
    this.#login = login;
    this.#clock = clock;
  }

  /** '' where there is no user. Rejects with an OperationError: `registry-denied` when the password is wrong. */
  async get(): Promise<string> {
    if (this.#login.username === '') return '';
    if (this.#clock.now() < this.#dueMs) return this.#token;
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  /** The server does not take it: the next one is asked for. */
  drop(): void {
    this.#dueMs = Number.NEGATIVE_INFINITY;
  }

  async #ask(): Promise<string> {
    const { username, password } = this.#login;
    const { status, body } = await this.#asker.ask({
      method: 'POST',
      path: '/v1/auth/login',
      body: new URLSearchParams({ username, password }).toString(),
      contentType: 'application/x-www-form-urlencoded',
      timeoutMs: 5000,
    });
    const text = body.toString();
    if (status !== 200) {
      const isDenied = status === 401 || status === 403;
      const code = isDenied ? 'registry-denied' : 'registry-error';
      const why = `${status}: ${text.slice(0, 200).trim()}`;
      throw new OperationError(code, `Nacos does not let ${username} in (${why})`, { retryable: !isDenied });
    }
    const told = readLogin(text);
    this.#token = told.accessToken;
    this.#dueMs = this.#clock.now() + told.tokenTtl * 1000 * 0.8;
    return this.#token;
  }
}

function readLogin(text: string): { accessToken: string; tokenTtl: number } {
  try {
    const { accessToken, tokenTtl } = JSON.parse(text) as { accessToken?: unknown; tokenTtl?: unknown };
    if (typeof accessToken === 'string') return { accessToken, tokenTtl: Number(tokenTtl) || 18_000 };
  } catch {
    // not JSON: said below
  }
  throw new OperationError('registry-error', "Nacos's answer to the login holds no token", { retryable: true });
}
