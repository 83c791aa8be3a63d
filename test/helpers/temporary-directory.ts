import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A directory of its own, outside the checkout; gone with all it holds when it is closed or its `await using` block ends. */
export interface TemporaryDirectory extends AsyncDisposable {
  readonly path: string;
  /** Writes a file (and the folders above it) and returns its absolute path. */
  write(name: string, content: string | Uint8Array): Promise<string>;
  close(): Promise<void>;
}

const open = new Set<string>();

/** Removes what tests of this file opened and did not close, and names it. The setup file calls it after each test file. */
export function removeStrayDirectories(): string[] {
  const strays = [...open];
  open.clear();
  for (const path of strays) rmSync(path, { recursive: true, force: true, maxRetries: 3 });
  return strays;
}

export async function temporaryDirectory(label = 'test'): Promise<TemporaryDirectory> {
  const path = await mkdtemp(join(tmpdir(), `evenkeel-${label}-`));
  open.add(path);
  const close = () => {
    open.delete(path);
    return rm(path, { recursive: true, force: true, maxRetries: 3 });
  };
  return {
    path,
    async write(name, content) {
      const file = join(path, name);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, content);
      return file;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
