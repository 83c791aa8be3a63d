/** What the load program is told. */
export interface LoadPlan {
  readonly host: string;
  readonly port: number;
  /** Load that is not recorded: connections open, JavaScript is compiled. */
  readonly warmUp: { readonly rate: number; readonly seconds: number };
  /** Requests a second, at Poisson times. */
  readonly rate: number;
  readonly seconds: number;
  readonly seed: number;
  /** Different paths, drawn evenly. */
  readonly keys: number;
  /** Where the records go. */
  readonly file: string;
}

/** Numbers of one record: meant to be sent at (monotonic ms), lateness of the sender, latency from that moment, status. */
const FIELDS = 4;
/** Status of a request whose connection ended before the answer, and of one that had none when the load was over. */
export const LOST = 0;
export const UNANSWERED = -1;

/** Requests as their sender saw them, as plain numbers, so that nothing is allocated while it counts. */
export class Records {
  readonly #numbers: Float64Array;
  #count = 0;
  unanswered = 0;

  /** Room for `capacity` requests; or what `bytes` of another gave. */
  constructor(source: number | Buffer) {
    if (typeof source === 'number') this.#numbers = new Float64Array(source * FIELDS);
    else {
      this.#numbers = new Float64Array(new Uint8Array(source).buffer);
      this.#count = this.#numbers.length / FIELDS;
    }
  }

  get count(): number {
    return this.#count;
  }

  /** A request that was due at `meantMs` is sent, or waits for a connection; its index. */
  add(meantMs: number, lateMs: number): number {
    const index = this.#count++;
    this.#numbers[index * FIELDS] = meantMs;
    this.#numbers[index * FIELDS + 1] = lateMs;
    this.#numbers[index * FIELDS + 2] = Number.POSITIVE_INFINITY;
    this.#numbers[index * FIELDS + 3] = UNANSWERED;
    this.unanswered++;
    return index;
  }

  answered(index: number, latencyMs: number, status: number): void {
    this.#numbers[index * FIELDS + 2] = latencyMs;
    this.#numbers[index * FIELDS + 3] = status;
    this.unanswered--;
  }

  meantMs(index: number): number {
    return this.#numbers[index * FIELDS];
  }

  lateMs(index: number): number {
    return this.#numbers[index * FIELDS + 1];
  }

  /** Infinity when it was never answered. */
  latencyMs(index: number): number {
    return this.#numbers[index * FIELDS + 2];
  }

  status(index: number): number {
    return this.#numbers[index * FIELDS + 3];
  }

  bytes(): Buffer {
    return Buffer.from(this.#numbers.buffer, 0, this.#count * FIELDS * 8);
  }
}
