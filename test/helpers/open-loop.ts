import { Agent, request } from 'undici';

/** What an open-loop client saw. */
export interface LoadResult {
  readonly sent: number;
  readonly ok: number;
  /** Count by what went wrong: a status, or an error's code. */
  readonly failures: Readonly<Record<string, number>>;
  /** Count by the text the endpoint answered with. */
  readonly answers: Readonly<Record<string, number>>;
}

/**
 * Sends GET requests at a fixed rate, whether or not earlier ones are answered, until `stop`. Every request counts: it is answered with 2xx, or it is a
 * failure. At most `limit` requests in all.
 */
export class OpenLoop {
  readonly #url: string;
  readonly #agent = new Agent({ connections: 128, pipelining: 1 });
  readonly #failures: Record<string, number> = {};
  readonly #running = new Set<Promise<void>>();
  #answers: Record<string, number> = {};
  #sent = 0;
  #stopped = false;
  #ok = 0;
  readonly #startedMs = performance.now();
  readonly #rate: number;
  readonly #limit: number;
  readonly #timer: NodeJS.Timeout;

  readonly #connectionEach: boolean;

  /** With `connectionEach` every request has a connection of its own. */
  constructor(url: string, rate: number, limit: number, { connectionEach = false } = {}) {
    this.#connectionEach = connectionEach;
    this.#url = url;
    this.#rate = rate;
    this.#limit = limit;
    // After what has come was read: a client that was held up must not send on a connection whose end it has not looked at.
    this.#timer = setInterval(() => setImmediate(() => this.#catchUp()), 5);
  }

  /** Answers since the last call, by text: where the traffic goes now. */
  takeAnswers(): Record<string, number> {
    const answers = this.#answers;
    this.#answers = {};
    return answers;
  }

  get failures(): Readonly<Record<string, number>> {
    return this.#failures;
  }

  get sent(): number {
    return this.#sent;
  }

  async stop(): Promise<LoadResult> {
    clearInterval(this.#timer);
    this.#stopped = true;
    await Promise.all(this.#running);
    await this.#agent.destroy();
    return { sent: this.#sent, ok: this.#ok, failures: this.#failures, answers: this.#answers };
  }

  #catchUp(): void {
    if (this.#stopped) return;
    const due = Math.min(this.#limit, ((performance.now() - this.#startedMs) / 1000) * this.#rate);
    while (this.#sent < due) {
      this.#sent++;
      const one = this.#request().finally(() => this.#running.delete(one));
      this.#running.add(one);
    }
  }

  async #request(): Promise<void> {
    try {
      const { statusCode, headers, body } = await request(this.#url, {
        dispatcher: this.#agent,
        reset: this.#connectionEach,
      });
      const text = await body.text();
      if (statusCode >= 200 && statusCode < 300) {
        this.#ok++;
        this.#answers[text] = (this.#answers[text] ?? 0) + 1;
      } else {
        this.#fail(`${statusCode} ${headers['x-evenkeel-reason'] ?? ''}`);
      }
    } catch (error) {
      this.#fail((error as { code?: string }).code ?? String(error));
    }
  }

  #fail(what: string): void {
    this.#failures[what] = (this.#failures[what] ?? 0) + 1;
  }
}
