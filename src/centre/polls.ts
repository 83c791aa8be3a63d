import type { Random } from '../base/random.ts';
import { type Look, Poll } from './poll.ts';
import type { StoreSink } from './store.ts';

/** The watches of one store: each a poll that runs until it, or the store, is closed. */
export class Polls {
  readonly #random: Random;
  readonly #open = new Set<Poll>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** What a store's `watch` returns. */
  watch(look: Look, sink: StoreSink): { close(): void } {
    const poll = new Poll(look, sink, this.#random);
    this.#open.add(poll);
    poll.start();
    return {
      close: () => {
        this.#open.delete(poll);
        poll.close();
      },
    };
  }

  close(): void {
    for (const poll of this.#open) poll.close();
    this.#open.clear();
  }
}
