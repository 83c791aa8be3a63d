import { Socket } from 'node:net';
import type { TurnClock } from '../base/turn-clock.ts';
import { PrivateSockets } from './private-sockets.ts';
import { ReadBuffers } from './read-buffers.ts';

/** What the sockets of one worker share. */
export class Sockets {
  readonly clock: TurnClock;
  readonly buffers = new ReadBuffers();
  /** Null: the documented way only. Decides about connections that open from then on. */
  fast: PrivateSockets | null = null;

  constructor(clock: TurnClock) {
    this.clock = clock;
  }

  /** Says which way sockets are read and written. Returns whether it is the fast one. */
  use(fastPath: boolean): boolean {
    if (!fastPath) this.fast = null;
    else this.fast ??= PrivateSockets.detect(new Socket());
    return this.fast !== null;
  }
}
