import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { z } from 'zod';

/** Replaces a file of saved state as one: a reader sees the old text or the new, also after a crash. Rejects with the file system's error and leaves nothing behind. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(temporary, text, { mode: 0o600 });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
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
