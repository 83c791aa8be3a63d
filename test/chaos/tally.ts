/** What one client of the chaos counts. Everything it begins ends as answered or as lost. */
export class Tally {
  readonly name: string;
  begun = 0;
  answered = 0;
  /** By what was seen. */
  readonly lost = new Map<string, number>();

  constructor(name: string) {
    this.name = name;
  }

  begin(): void {
    this.begun++;
  }

  answer(): void {
    this.answered++;
  }

  lose(what: string): void {
    this.lost.set(what, (this.lost.get(what) ?? 0) + 1);
  }

  get losses(): number {
    let sum = 0;
    for (const count of this.lost.values()) sum += count;
    return sum;
  }
}

/** A client that runs until it is told to stop; `stop` resolves when everything it began has ended. */
export interface ChaosClient {
  readonly tally: Tally;
  stop(): Promise<void>;
}
