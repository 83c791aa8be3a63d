/** Acts on the running program that must not overlap (reload, restart of workers, drain): one at a time, in the order they were asked for. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `act` when all before it have ended, however they ended. */
  take<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(act);
    this.#last = turn.catch(() => {});
    return turn;
  }
}
