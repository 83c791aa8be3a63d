import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { isStoreAddress } from '../centre/catalog.ts';
import type { Terminal } from './terminal.ts';

/** Where a document is looked for when `-c` is not given; the first that exists. */
export const DEFAULT_FILES: readonly string[] = ['evenkeel.yaml', 'config/evenkeel.yaml'];

/** Adds `-c FILE` to a command. */
export function withDocumentFile(command: Command): Command {
  return command.option('-c, --config <file>', `the document (default: ${DEFAULT_FILES.join(', then ')})`);
}

/** The file to load, absolute. Where none of the defaults exists the first one is named: loading it says what is missing. */
export function documentFile(options: { config?: string }, { directory }: Terminal): string {
  if (options.config !== undefined && isStoreAddress(options.config)) return options.config;
  if (options.config !== undefined) return resolve(directory, options.config);
  const candidates = DEFAULT_FILES.map((file) => resolve(directory, file));
  return candidates.find((file) => existsSync(file)) ?? candidates[0];
}
