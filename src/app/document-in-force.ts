import type { Judgement } from '../admin/config-acts.ts';
import type { ReloadResult } from '../admin/control.ts';
import { ConfigError, formatProblem } from '../base/errors.ts';
import type { EventLog } from '../telemetry/event-log.ts';
import { type DocumentOptions, isSameDocument, type LoadedDocument } from './document.ts';
import type { Ending } from './ending.ts';
import { type JudgeParts, judgeLive } from './judge-live.ts';
import { putInForce, type ReloadParts } from './reload.ts';
import type { RunningState } from './running-state.ts';
import type { Turns } from './turns.ts';

export interface DocumentParts {
  /** What the program starts with. */
  readonly document: LoadedDocument;
  /** Reads the document again, for a reload. Throws a ConfigError. */
  readonly reread: () => Promise<LoadedDocument>;
  readonly read: JudgeParts['read'];
  readonly events: EventLog;
  readonly state: RunningState;
  readonly turns: Turns;
  readonly ending: Ending;
  readonly reload: ReloadParts;
}

/** The document in force, on main, and the acts that put another in its place or judge one. */
export class DocumentInForce {
  readonly #parts: DocumentParts;
  #loaded: LoadedDocument;
  /** A reload that waits for its turn. */
  #asked: Promise<ReloadResult> | null = null;

  constructor(parts: DocumentParts) {
    this.#parts = parts;
    this.#loaded = parts.document;
  }

  get loaded(): LoadedDocument {
    return this.#loaded;
  }

  get options(): DocumentOptions {
    return this.#loaded.document;
  }

  /** Called by the reload, when nothing can fail any more. */
  adopt(document: LoadedDocument): void {
    this.#loaded = document;
  }

  /** A reload that waits for its turn will read what is there then: one is enough, however many ask for it. */
  reload(): Promise<ReloadResult> {
    this.#asked ??= this.#parts.turns.take(() => {
      this.#asked = null;
      return this.#reload();
    });
    return this.#asked;
  }

  async #reload(): Promise<ReloadResult> {
    const { events, state, ending, reload, reread } = this.#parts;
    const before = this.#loaded;
    try {
      ending.refuseActs();
      events.publish({ type: 'reloading' });
      await putInForce(reload, before, await reread());
    } catch (error) {
      return this.#refuse(error);
    }
    const isChanged = !isSameDocument(before, this.#loaded);
    state.accepted();
    const { configVersion: version, configVersionNumber: versionNumber } = state;
    events.publish({ type: 'reloaded', version, versionNumber });
    return { accepted: true, version, versionNumber, isChanged };
  }

  #refuse(error: unknown): ReloadResult {
    const { events, ending } = this.#parts;
    const problems = error instanceof ConfigError ? error.problems : [];
    const message = error instanceof Error ? error.message : String(error);
    const told = problems.length > 0 ? problems.map(formatProblem) : [message];
    // What was asked of a process that is succeeded meanwhile is no news of the one that serves.
    if (!ending.isSucceeded) events.publish({ type: 'reload-refused', problems: told });
    return { accepted: false, message, problems };
  }

  /** Judges a document as a reload would, and tells what it would change. Opens what it can and takes it back; nothing takes effect. */
  judge(text: string, against: string | null): Promise<Judgement> {
    const { reload, read, turns } = this.#parts;
    const parts = { ...reload, read, samples: () => reload.requests.samples };
    return turns.take(() => judgeLive(text, against, this.#loaded, parts));
  }
}
