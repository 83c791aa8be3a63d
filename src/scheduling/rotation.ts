/** Steps after which the clock of the lines is set back, so that products stay far below 2^53 and crossing times are exact. */
const REBASE_STEPS = 2 ** 20;

/**
 * nginx's smooth weighted round robin in O(log n): each step every current weight grows by its weight, the highest one is chosen (the
 * earlier of two equals) and loses the total. Between choices a current weight is a line over the steps, base + weight × step, so the highest is
 * kept in a tournament tree; each inner node knows the step at which its winner may change (a kinetic tournament). Only what is due is
 * played again. Same sequence as the scan, 14 matches instead of 5 000 additions. Weights are integers below 2^23, currents below 2^37 (10 000 of 65 535
 * in hundredths).
 */
export class Rotation {
  readonly #weights: Float64Array;
  readonly #base: Float64Array;
  readonly #total: number;
  /** Leaves; a power of two. Node 1 is the root, node i's children are 2i and 2i + 1. */
  readonly #leaves: number;
  /** [node] index of the member that is highest below the node; -1 when none takes part. */
  readonly #winner: Int32Array;
  /** [node] first step at which a match at or below the node may end otherwise. */
  readonly #dueStep: Float64Array;
  #step = 0;

  /** `weights` are positive; `currents` are where each member stands. Both are taken over. */
  constructor(weights: Float64Array, currents: Float64Array) {
    this.#weights = weights;
    this.#base = currents;
    let total = 0;
    for (const weight of weights) total += weight;
    this.#total = total;
    let leaves = 1;
    while (leaves < weights.length) leaves *= 2;
    this.#leaves = leaves;
    this.#winner = new Int32Array(2 * leaves).fill(-1);
    this.#dueStep = new Float64Array(2 * leaves).fill(Number.POSITIVE_INFINITY);
    for (let i = 0; i < weights.length; i++) this.#winner[leaves + i] = i;
    for (let node = leaves - 1; node >= 1; node--) this.#play(node);
  }

  get total(): number {
    return this.#total;
  }

  /** Where a member stands. The sum over all members never changes. */
  current(index: number): number {
    return this.#base[index] + this.#weights[index] * this.#step;
  }

  /** Index of the next member. There must be one. */
  next(): number {
    this.#advance();
    const chosen = this.#winner[1];
    this.#base[chosen] -= this.#total;
    this.#playUp(chosen);
    return chosen;
  }

  /** The next one among the others: the skipped stand still for this step and do not count in the total, as in nginx. -1 when all are skipped. */
  nextWithout(skipped: readonly number[]): number {
    if (skipped.length === this.#weights.length) return -1;
    this.#advance();
    let total = this.#total;
    for (const index of skipped) {
      total -= this.#weights[index];
      this.#base[index] -= this.#weights[index];
      this.#winner[this.#leaves + index] = -1;
      this.#playUp(index);
    }
    const chosen = this.#winner[1];
    this.#base[chosen] -= total;
    this.#playUp(chosen);
    for (const index of skipped) {
      this.#winner[this.#leaves + index] = index;
      this.#playUp(index);
    }
    return chosen;
  }

  #advance(): void {
    if (this.#step === REBASE_STEPS) this.#rebase();
    this.#step++;
    if (this.#dueStep[1] <= this.#step) this.#replay(1);
  }

  #rebase(): void {
    for (let i = 0; i < this.#base.length; i++) this.#base[i] = this.current(i);
    this.#step = 0;
    for (let node = this.#leaves - 1; node >= 1; node--) this.#play(node);
  }

  #replay(node: number): void {
    const left = 2 * node;
    if (this.#dueStep[left] <= this.#step) this.#replay(left);
    if (this.#dueStep[left + 1] <= this.#step) this.#replay(left + 1);
    this.#play(node);
  }

  #playUp(index: number): void {
    for (let node = (this.#leaves + index) >> 1; node >= 1; node >>= 1) this.#play(node);
  }

  /** Decides the match of a node's children, and when it has to be played again. */
  #play(node: number): void {
    const left = 2 * node;
    const a = this.#winner[left];
    const b = this.#winner[left + 1];
    const below = this.#dueStep[left];
    const due = this.#dueStep[left + 1];
    const childrenDue = below < due ? below : due;
    if (a < 0 || b < 0) {
      this.#winner[node] = a < 0 ? b : a;
      this.#dueStep[node] = childrenDue;
      return;
    }
    // How far a leads; on the left are the earlier members, which win when level.
    const lead = this.#base[a] - this.#base[b];
    const gain = this.#weights[a] - this.#weights[b];
    const aWins = lead + gain * this.#step >= 0;
    this.#winner[node] = aWins ? a : b;
    let turns = Number.POSITIVE_INFINITY;
    if (aWins && gain < 0) turns = Math.floor(lead / -gain) + 1;
    else if (!aWins && gain > 0) turns = Math.ceil(-lead / gain);
    this.#dueStep[node] = turns < childrenDue ? turns : childrenDue;
  }
}
