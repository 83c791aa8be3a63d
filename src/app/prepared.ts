/** A change that is made ready first, so that all of a document takes effect or nothing of it. Exactly one of both is called, once. */
export interface Prepared {
  /** Takes effect. Never fails. */
  commit(): void;
  /** Takes back what was opened. */
  cancel(): void;
}

/** Nothing has to change. */
export const nothingToDo: Prepared = { commit() {}, cancel() {} };
