import { z } from 'zod';
import { LinearPattern } from '../base/linear-pattern.ts';

/** What of a body is looked at; the rest is not waited for. */
export const BODY_BYTES = 64 * 1024;

/** `body:` of a probe: a text that must be in it, or `{ matches: REGULAR EXPRESSION }`. */
export const bodyCheck = z.union([
  z.string().min(1).max(512).describe('must be in the body'),
  z.strictObject({
    matches: z
      .string()
      .min(1)
      .refine(isPattern, {
        error: 'is not a regular expression that is matched in linear time (no lookaround, no references)',
      })
      .describe('regular expression that must match in the body, in linear time'),
  }),
]);
export type BodyCheck = z.output<typeof bodyCheck>;

/** Made once per probe: whether what is there of a body is as it should be. Read as UTF-8, without a character that is cut at its end. */
export function bodyTest(check: BodyCheck): (bytes: Buffer) => boolean {
  if (typeof check === 'string') return (bytes) => bytes.includes(check);
  const pattern = new LinearPattern(check.matches);
  return (bytes) => pattern.test(new TextDecoder().decode(bytes, { stream: true }));
}

function isPattern(source: string): boolean {
  try {
    new LinearPattern(source);
    return true;
  } catch {
    return false;
  }
}
