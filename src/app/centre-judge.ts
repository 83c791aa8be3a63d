import type { Judgement } from '../admin/config-acts.ts';
import type { Questions } from '../centre/questions.ts';
import type { Logger } from '../telemetry/log.ts';

export interface CentreJudgeOptions {
  readonly questions: Questions;
  /** What the proxy is called. */
  readonly name: string;
  readonly judge: (document: string) => Promise<Judgement>;
  readonly log: Logger;
}

/** Judges what is put to this proxy in its config centre, against what it knows, has bound and could bind. On main, from when it serves until it ends. */
export class CentreJudge {
  readonly #options: CentreJudgeOptions;
  #watch: { close(): void } | null = null;

  constructor(options: CentreJudgeOptions) {
    this.#options = options;
  }

  start(): void {
    const { questions, name, judge, log } = this.#options;
    this.#watch = questions.answer(name, judge, (error) =>
      log.warn({ error: error.message }, 'a question in the config centre cannot be answered'),
    );
  }

  /** Another process answers by this name. */
  leave(): void {
    this.#watch?.close();
    this.#watch = null;
  }

  /** Nobody is to ask here any more. */
  async close(): Promise<void> {
    if (this.#watch === null) return;
    this.leave();
    await this.#options.questions.forget(this.#options.name).catch(() => {});
  }
}
