import { existsSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { z } from 'zod';

/** Replaces a file of saved state as one: a reader sees the old text or the new, also after a crash or a power cut. Rejects with the file system's error and leaves nothing behind. */
export async function replaceFile(path: string, text: string, mode = 0o600): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await makeDirectory(dirname(path));
    await writeFile(temporary, text, { mode, flush: true });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}

/** With all above it. Node's own `recursive` never ends where a file system has no room for directories at all, as below /proc. */
async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || dirname(path) === path || existsSync(dirname(path))) throw error;
    await makeDirectory(dirname(path));
    await mkdir(path);
  }
}

/** The content of saved state that carries its `format`, or what is wrong with it: `what` says what the file should hold. */
export function parseSaved<T extends z.ZodType>(
  text: string,
  schema: T,
  format: number,
  what: string,
): z.output<T> | string {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    return 'it is not JSON';
  }
  const found = (content as { format?: unknown } | null)?.format;
  if (typeof found === 'number' && found > format) return `its format ${found} is newer than ours, ${format}`;
  const parsed = schema.safeParse(content);
  return parsed.success ? parsed.data : `it does not hold ${what}`;
}
