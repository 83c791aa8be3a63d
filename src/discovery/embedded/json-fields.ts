import { ApiError } from './api-error.ts';
import { parseGoDuration } from './go-duration.ts';

/** Keys as Go's decoder matches them: in any case; and in snake_case, which Consul has for some. */
function normal(key: string): string {
  const lower = key.toLowerCase();
  return lower.includes('_') ? lower.replaceAll('_', '') : lower;
}

/** The same for the names that the code asks for, of which there are few. */
const asked = new Map<string, string>();

function normalName(name: string): string {
  let found = asked.get(name);
  if (found === undefined) {
    found = normal(name);
    asked.set(name, found);
  }
  return found;
}

function decodeFailed(what: string): ApiError {
  return new ApiError(400, `Request decode failed: ${what}`);
}

/** Parses a request body that must be a JSON object. */
export function parseObject(body: Buffer): Fields {
  if (body.length === 0) throw decodeFailed('EOF');
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw decodeFailed((error as Error).message);
  }
  return new Fields(value, '');
}

/**
 * One JSON object of a request, read field by field with Consul's leniency. A field that is absent or null is its zero value; one of the
 * wrong type is a 400. `rest` names what nobody asked for: newer clients send newer fields, so that is for the log, not an error.
 */
export class Fields {
  readonly #values = new Map<string, { readonly name: string; readonly value: unknown; taken: boolean }>();
  readonly #path: string;

  constructor(value: unknown, path: string) {
    this.#path = path;
    if (value === null || typeof value !== 'object' || Array.isArray(value))
      throw decodeFailed(`${path || 'the body'} must be an object`);
    for (const name of Object.keys(value))
      this.#values.set(normal(name), { name, value: (value as Record<string, unknown>)[name], taken: false });
  }

  /** Fields that were sent and not taken, as they were written. */
  rest(ignored: readonly string[] = []): string[] {
    const left: string[] = [];
    for (const [key, { name, taken }] of this.#values)
      if (!taken && !ignored.some((one) => normalName(one) === key)) left.push(this.#path + name);
    return left;
  }

  string(name: string): string {
    const value = this.#take(name) ?? '';
    if (typeof value !== 'string') throw this.#wrong(name, 'a string');
    return value;
  }

  integer(name: string): number {
    const value = this.#take(name) ?? 0;
    if (!Number.isSafeInteger(value)) throw this.#wrong(name, 'an integer');
    return value as number;
  }

  boolean(name: string): boolean {
    const value = this.#take(name) ?? false;
    if (typeof value !== 'boolean') throw this.#wrong(name, 'true or false');
    return value;
  }

  strings(name: string): string[] {
    const value = this.#take(name) ?? [];
    if (!Array.isArray(value) || !value.every((item) => typeof item === 'string'))
      throw this.#wrong(name, 'a list of strings');
    return value;
  }

  /** Null when absent. */
  stringMap(name: string): Record<string, string> | null {
    const value = this.#take(name);
    if (value === undefined || value === null) return null;
    if (typeof value !== 'object' || Array.isArray(value)) throw this.#wrong(name, 'an object of strings');
    for (const item of Object.values(value)) {
      if (typeof item !== 'string') throw this.#wrong(name, 'an object of strings');
    }
    return value as Record<string, string>;
  }

  /** Each key with its fields; null when absent. */
  fieldsMap(name: string): Map<string, Fields> | null {
    const value = this.#take(name);
    if (value === undefined || value === null) return null;
    if (typeof value !== 'object' || Array.isArray(value)) throw this.#wrong(name, 'an object');
    return new Map(
      Object.entries(value).map(([key, item]) => [key, new Fields(item, `${this.#path}${name}.${key}.`)] as const),
    );
  }

  /** The field as it came; null when absent. */
  raw(name: string): unknown {
    return this.#take(name) ?? null;
  }

  object(name: string): Fields | null {
    const value = this.#take(name);
    return value === undefined || value === null ? null : new Fields(value, `${this.#path}${name}.`);
  }

  list(name: string): Fields[] {
    const value = this.#take(name) ?? [];
    if (!Array.isArray(value)) throw this.#wrong(name, 'a list');
    return value.filter((item) => item !== null).map((item) => new Fields(item, `${this.#path}${name}.`));
  }

  /** A Go duration as text, or nanoseconds as a number; in ms, 0 when absent. */
  durationMs(name: string): number {
    const value = this.#take(name);
    if (value === undefined || value === null || value === '') return 0;
    if (typeof value === 'number') return value / 1e6;
    if (typeof value !== 'string') throw this.#wrong(name, 'a duration');
    const ms = parseGoDuration(value);
    if (ms === null) throw decodeFailed(`time: invalid duration ${JSON.stringify(value)}`);
    return ms;
  }

  #take(name: string): unknown {
    const field = this.#values.get(normalName(name));
    if (field === undefined) return undefined;
    field.taken = true;
    return field.value;
  }

  #wrong(name: string, right: string): ApiError {
    return decodeFailed(`${this.#path}${name} must be ${right}`);
  }
}
