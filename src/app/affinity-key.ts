import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Logger } from '../telemetry/log.ts';

const BYTES = 32;

/** The key of affinity cookies of pools that name no secret: kept in a file, so that clients stay where they are over restarts. On main, at the start. */
export function affinityKey(path: string, log: Logger): Uint8Array {
  try {
    const kept = readFileSync(path);
    if (kept.length === BYTES) return kept;
    log.warn({ path }, 'the key of affinity cookies is not one; making another');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') log.warn({ path, error: String(error) }, 'cannot read');
  }
  const key = randomBytes(BYTES);
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, key, { mode: 0o600 });
  } catch (error) {
    log.warn({ path, error: String(error) }, 'the key of affinity cookies cannot be kept; a restart moves clients');
  }
  return key;
}
