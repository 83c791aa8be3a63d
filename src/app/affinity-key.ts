import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { replaceFile } from '../base/saved-file.ts';
import type { Logger } from '../telemetry/log.ts';

const BYTES = 32;

/**
 * The key of affinity cookies of pools that name no secret: kept in a file, so that clients stay where they are over restarts. On main, at the start; a key
 * that cannot be kept is said and stops nothing.
 */
export function affinityKey(path: string, log: Logger): Uint8Array {
  try {
    const kept = Buffer.from(readFileSync(path, 'latin1').trim(), 'hex');
    if (kept.length === BYTES) return kept;
    log.warn({ path }, 'the key of affinity cookies is not one; making another');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT')
      log.warn({ path, error: message }, 'the key of affinity cookies cannot be read; making another');
  }
  const key = randomBytes(BYTES);
  replaceFile(path, `${key.toString('hex')}\n`).catch((error: unknown) =>
    log.warn({ path, error: String(error) }, 'the key of affinity cookies cannot be kept; a restart moves clients'),
  );
  return key;
}
