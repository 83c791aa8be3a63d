import { readFile } from 'node:fs/promises';
import { parseSaved, replaceFile } from '../base/saved-file.ts';
import { FORMAT, type Version, versionSchema } from '../centre/version.ts';

/** The last version of a config centre that ran here, on disk: a start without the centre goes on with it. */
export class VersionCache {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Null when there is none that can be used. */
  async read(): Promise<Version | null> {
    try {
      const parsed = parseSaved(await readFile(this.path, 'utf8'), versionSchema, FORMAT, 'a version');
      return typeof parsed === 'string' ? null : parsed;
    } catch {
      return null;
    }
  }

  /** Rejects when it cannot be written. */
  async keep(version: Version): Promise<void> {
    await replaceFile(this.path, JSON.stringify({ format: FORMAT, ...version }));
  }
}
