import { createHash } from 'node:crypto';
import { z } from 'zod';

/** One accepted document, as it is kept: written once, never changed. */
export interface Version {
  /** 1, 2, … along the line that the head is at the end of. */
  readonly number: number;
  /** What proxies call it too: the first 12 hex digits of the SHA-256 of `document`. */
  readonly id: string;
  /** Where it is kept, without its folder: unique even when the same text is pushed twice. */
  readonly key: string;
  /** Key of the version before; null for the first. */
  readonly parent: string | null;
  readonly author: string;
  /** ISO 8601. */
  readonly time: string;
  readonly message: string;
  /** The text as it was pushed: variables are references, never values. */
  readonly document: string;
}

/** A version that some proxies run while the others stay at the head: it becomes the head, or goes. */
export interface Stage {
  /** Key of the version on trial. */
  readonly key: string;
  /** The proxies that run it. */
  readonly proxies: readonly string[];
  /** ISO 8601. */
  readonly since: string;
  /** How long each of them has to find it good, in ms. */
  readonly trialMs: number;
  /** Those who have. */
  readonly passed: readonly string[];
}

/** Why a staged version went back. */
export interface Withdrawn {
  readonly key: string;
  readonly time: string;
  readonly proxy: string;
  readonly reason: string;
}

/** What all proxies follow. One key, so that check-and-set covers everything that is decided. */
export interface Head {
  /** Key of the version in force. */
  readonly key: string;
  readonly number: number;
  readonly stage: Stage | null;
  /** The last staged version that went back; null when none did since the last push. */
  readonly withdrawn: Withdrawn | null;
}

/** What a proxy says of itself. */
export interface ProxyReport {
  readonly name: string;
  /** ISO 8601, renewed every few seconds. */
  readonly time: string;
  /** What it runs. */
  readonly id: string;
  readonly number: number;
  /** Since when, ISO 8601. */
  readonly since: string;
  /** What it was offered and did not take; null when it runs what it should. */
  readonly refused: { readonly id: string; readonly number: number; readonly problems: readonly string[] } | null;
}

/** Formats of what is kept; a higher one was written by a later evenkeel. */
export const FORMAT = 1;

const text = z.string();
export const versionSchema = z.object({
  format: z.literal(FORMAT),
  number: z.int().min(1),
  id: text.regex(/^[0-9a-f]{12}$/),
  key: text,
  parent: text.nullable(),
  author: text,
  time: text,
  message: text,
  document: text,
});
export const headSchema = z.object({
  format: z.literal(FORMAT),
  key: text,
  number: z.int().min(1),
  stage: z
    .object({ key: text, proxies: z.array(text), since: text, trialMs: z.number(), passed: z.array(text) })
    .nullable(),
  withdrawn: z.object({ key: text, time: text, proxy: text, reason: text }).nullable(),
});
export const reportSchema = z.object({
  format: z.literal(FORMAT),
  name: text,
  time: text,
  id: text,
  number: z.int(),
  since: text,
  refused: z.object({ id: text, number: z.int(), problems: z.array(text) }).nullable(),
});

/** The id of a document's text. */
export function idOf(document: string): string {
  return createHash('sha256').update(document).digest('hex').slice(0, 12);
}
