/** Headers a middleware set or removed on one message. Empty for most messages, so it costs a length check. */
export class HeaderEdits {
  readonly #names: string[] = [];
  readonly #values: (string | null)[] = [];
  /** Names and values by turns. */
  readonly #added: string[] = [];

  get size(): number {
    return this.#names.length + this.#added.length;
  }

  /** `name` in lower case; null removes every line of this name. */
  set(name: string, value: string | null): void {
    const at = this.#names.indexOf(name);
    if (at >= 0) {
      this.#values[at] = value;
      return;
    }
    this.#names.push(name);
    this.#values.push(value);
  }

  /** Adds a line beside those received: `set-cookie` may stand more than once. */
  add(name: string, value: string): void {
    this.#added.push(name, value);
  }

  /** What the header was set to: null when it was removed, undefined when it is as received. `name` in lower case. */
  get(name: string): string | null | undefined {
    const at = this.#names.indexOf(name);
    return at < 0 ? undefined : this.#values[at];
  }

  /** Whether a header was set or removed. `name` in lower case. */
  has(name: string): boolean {
    return this.#names.length > 0 && this.#names.includes(name);
  }

  /** Whether the name at buf[start, end) is edited, so that the line as received is not forwarded. */
  covers(buf: Buffer, start: number, end: number): boolean {
    return this.#names.includes(buf.toString('latin1', start, end).toLowerCase());
  }

  /** The lines of a trailer section (`Name: value\r\n…`) that are not edited: what was set or removed does not come in behind the body. */
  unedited(trailers: string): string {
    if (trailers === '' || this.#names.length === 0) return trailers;
    const lines = trailers.split(/(?<=\r\n)/);
    return lines.filter((line) => !this.#names.includes(line.slice(0, line.indexOf(':')).toLowerCase())).join('');
  }

  /** Calls `line` for each header to add. */
  forEach(line: (name: string, value: string) => void): void {
    for (let i = 0; i < this.#names.length; i++) {
      const value = this.#values[i];
      if (value !== null) line(this.#names[i], value);
    }
    for (let i = 0; i < this.#added.length; i += 2) line(this.#added[i], this.#added[i + 1]);
  }

  clear(): void {
    if (this.#added.length > 0) this.#added.length = 0;
    if (this.#names.length === 0) return;
    this.#names.length = 0;
    this.#values.length = 0;
  }
}
