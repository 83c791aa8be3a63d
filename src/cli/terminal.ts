import type { Environment } from '../config/environment.ts';

/** What a command sees of the world around it: `main` gives it the process's, a test its own. */
export interface Terminal {
  /** Writes to stdout as it is: the newline belongs to the text. */
  out(text: string): void;
  /** Writes to stderr. */
  error(text: string): void;
  /** What fits on the screen; null where stdout is none. */
  size?(): { readonly columns: number; readonly rows: number } | null;
  readonly environment: Environment;
  /** Directory that relative paths are from. */
  readonly directory: string;
}

/** The exit status of a command that has run to its end. */
export type ExitStatus = number;

/** The process's own streams. A reader that has gone away (`| head`) ends nothing: what nobody reads is lost. */
export function processTerminal(): Terminal {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
  return {
    out: (text) => void process.stdout.write(text),
    error: (text) => void process.stderr.write(text),
    size: () => {
      const { isTTY, columns, rows } = process.stdout;
      return isTTY ? { columns, rows } : null;
    },
    environment: process.env,
    directory: process.cwd(),
  };
}
