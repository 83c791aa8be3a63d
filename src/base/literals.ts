import { z } from 'zod';

const DURATION_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const SIZE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  KB: 1000,
  MB: 1e6,
  GB: 1e9,
};

/** `250ms 5s 2m 1h`, or several parts as Go writes them (`1m30s`), in ms; null when it is none. */
export function parseDuration(text: string): number | null {
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return null;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g))
    total += Number(amount) * DURATION_UNITS[unit];
  return total;
}

/** Whether a text can be the name of a pool, a registry or a proxy: a label in metrics, a part of a URL, a file. */
export function isName(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(text);
}

/** `64KiB 1MiB 512B` or a bare number of bytes; null when it is none. */
export function parseSize(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)(B|KiB|MiB|GiB|KB|MB|GB)?$/.exec(text);
  return match === null ? null : Math.round(Number(match[1]) * SIZE_UNITS[match[2] ?? 'B']);
}

/** `127.0.0.1:8080`, `[::1]:8080` or `name:8080`; null when it is none. The host comes without brackets, in lower case. */
export function parseHostPort(text: string): { host: string; port: number } | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):(\d{1,5})$/.exec(text);
  if (match === null) return null;
  const port = Number(match[3]);
  if (port > 65_535) return null;
  return { host: (match[1] ?? match[2]).toLowerCase(), port };
}

/** `address:port`, IPv6 in brackets: an endpoint's ID. */
export function formatHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** A value of a document as a message shows it: short, on one line. */
export function shown(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'a map';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** Node's timers know 24.8 days at most and fire at once past that; what waits may be varied by a third at random, or follow another wait. */
export const LONGEST_WAIT_MS = 14 * 86_400_000;

/** A duration such as `250ms`, `5s`, `2m`; the output is milliseconds. Infinity for `maxMs` where no timer of Node waits for it. */
export function duration(maxMs = LONGEST_WAIT_MS): z.ZodType<number, string> {
  const text = z.string({
    error: (issue) => `${shown(issue.input)} is not a duration; write it as 250ms, 5s, 2m or 1h`,
  });
  return text.transform((text, context) => {
    const ms = parseDuration(text);
    if (ms !== null && ms <= maxMs) return ms;
    const why =
      ms === null
        ? 'is not a duration; write it as 250ms, 5s, 2m or 1h'
        : `is longer than a timer can wait; write at most ${maxMs / 86_400_000}d`;
    context.issues.push({ code: 'custom', input: text, message: `"${text}" ${why}` });
    return z.NEVER;
  }) as unknown as z.ZodType<number, string>;
}

/** A size such as `64KiB`, or a number of bytes; the output is bytes. */
export function size(): z.ZodType<number, string | number> {
  const error = (issue: { input?: unknown }) =>
    `${shown(issue.input)} is not a size; write it as 64KiB, 1MiB or a number of bytes`;
  return z.union([z.string(), z.number().int().nonnegative()], { error }).transform((value, context) => {
    const bytes = typeof value === 'number' ? value : parseSize(value);
    if (bytes !== null) return bytes;
    context.issues.push({
      code: 'custom',
      input: value,
      message: `"${value}" is not a size; write it as 64KiB, 1MiB or a number of bytes`,
    });
    return z.NEVER;
  }) as unknown as z.ZodType<number, string | number>;
}

/** A share, `50%` or `0.5`; the output is 0…1. */
export function share(): z.ZodType<number, string | number> {
  const error = (issue: { input?: unknown }) => `${shown(issue.input)} is not a share; write it as 20% or 0.2`;
  return z.union([z.string(), z.number()], { error }).transform((value, context) => {
    const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)%$/.exec(value) : null;
    const found = typeof value === 'number' ? value : match === null ? Number.NaN : Number(match[1]) / 100;
    if (found >= 0 && found <= 1) return found;
    context.issues.push({ code: 'custom', input: value, message: `"${value}" is not a share; write it as 20% or 0.2` });
    return z.NEVER;
  }) as unknown as z.ZodType<number, string | number>;
}

/** `host:port`, IPv6 as `[::1]:8080`; the output keeps the text. */
export function hostPort(): z.ZodType<string, string> {
  const error = (issue: { input?: unknown }) =>
    `${shown(issue.input)} is not an address; write it as 127.0.0.1:8080, [::1]:8080 or name:8080`;
  return z.string({ error }).refine((text) => parseHostPort(text) !== null, { error });
}

/** Lets `off` (and YAML 1.1's false) stand for a feature that is switched off; the output is then null. */
export function orOff<T extends z.ZodType>(schema: T): z.ZodType<z.output<T> | null, z.input<T> | 'off' | false> {
  return z.union([z.literal('off').transform(() => null), z.literal(false).transform(() => null), schema]) as never;
}

/** A duration longer than 0; `off` becomes null. */
export function timeout(): z.ZodType<number | null, string | false> {
  return orOff(
    duration(Number.POSITIVE_INFINITY).refine((ms) => ms > 0, {
      error: 'a timeout must be longer than 0; write off for none',
    }),
  );
}

/** A count; 0 and `off` become null: no limit. */
export function limit(): z.ZodType<number | null, number | 'off' | false> {
  return orOff(z.int().min(0).transform(noneIfZero)) as never;
}

/** A number of bytes; 0 and `off` become null: no limit. */
export function byteLimit(): z.ZodType<number | null, string | number | false> {
  return orOff(size().transform(noneIfZero)) as never;
}

function noneIfZero(value: number): number | null {
  return value === 0 ? null : value;
}
