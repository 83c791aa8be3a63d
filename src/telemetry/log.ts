import { type LevelWithSilent, type Logger as PinoLogger, pino, stdTimeFunctions } from 'pino';
import { LineWriter } from './line-writer.ts';

/** The program's log. Called by the control plane only; lines carry fields first, then a message. */
export type Logger = PinoLogger;

/** Bytes of log lines that may wait for a slow reader. */
const PENDING_BYTES = 1024 * 1024;

/** Keys whose values never reach the log, wherever a line's first two levels carry them. */
const SECRETS = ['token', 'password', 'authorization', 'secret', 'cookie'];

export interface ProgramLogOptions {
  readonly level: LevelWithSilent;
  readonly format: 'json' | 'pretty';
  /** Where the lines go; stderr unless told otherwise, so that stdout belongs to the access log alone. */
  readonly writer?: LineWriter;
  readonly colour?: boolean;
}

/** The log and the way to get its last lines out before the process ends. */
export interface ProgramLog {
  readonly log: Logger;
  /** Takes another level and format from the next line on. */
  configure(options: Pick<ProgramLogOptions, 'level' | 'format'>): Promise<void>;
  /** Writes what still waits, blocking for at most 250 ms. Called right before process.exit. */
  flushSync(): void;
}

/** Builds the program's log. Opens nothing: stderr is there. */
export async function createLog(options: ProgramLogOptions): Promise<ProgramLog> {
  const writer = options.writer ?? new LineWriter({ target: 2, pendingBytes: PENDING_BYTES });
  const prettifierFor = (format: ProgramLogOptions['format']) =>
    format === 'pretty' ? prettifier(options.colour ?? process.stderr.isTTY === true) : null;
  let prettify = await prettifierFor(options.format);
  const log = pino(
    {
      level: options.level,
      base: undefined,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRETS.flatMap((key) => [key, `*.${key}`]), censor: '***' },
    },
    { write: (line: string) => writer.write(prettify === null ? line : prettify(line)) },
  );
  return {
    log,
    async configure({ level, format }) {
      prettify = await prettifierFor(format);
      log.level = level;
    },
    flushSync: () => writer.flushSync(),
  };
}

/** Loaded only where it is used: it costs 20 ms at start. */
async function prettifier(isColoured: boolean): Promise<(line: string) => string> {
  const { default: pretty } = await import('pino-pretty');
  return pretty.prettyFactory({
    colorize: isColoured,
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'pid,hostname',
    singleLine: true,
    errorLikeObjectKeys: ['err'],
  });
}
