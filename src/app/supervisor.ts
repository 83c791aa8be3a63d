import { execFile } from 'node:child_process';
import type { Logger } from '../telemetry/log.ts';

/** A sign of life costs a process: not more often than this. */
const MIN_BEAT_MS = 1000;
/** Longer than this `systemd-notify` does not wait for systemd. */
const TIMEOUT_MS = 5000;

export interface SupervisorOptions {
  /** Of this process: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are read. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly log: Logger;
  readonly pid?: number;
}

/**
 * Tells systemd how this process is (sd_notify(3)), where it runs as a service with `Type=notify`; elsewhere does nothing. Node has no datagram sockets of the
 * local kind, so each message is a run of `systemd-notify`, one after the other, which needs `NotifyAccess=all`. Used on main.
 */
export class Supervisor {
  readonly #log: Logger;
  readonly #pid: number;
  readonly #isThere: boolean;
  readonly #beatMs: number;
  #last: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | null = null;
  #isTold = false;
  /** This process ends: nothing that is refused because of that makes it ready again. */
  #isStopping = false;
  #isOver = false;

  constructor({ environment, log, pid = process.pid }: SupervisorOptions) {
    this.#log = log;
    this.#pid = pid;
    this.#isThere = (environment.NOTIFY_SOCKET ?? '') !== '';
    const microseconds = Number(environment.WATCHDOG_USEC ?? 0);
    // WATCHDOG_PID names the first process; a successor is the main process by MAINPID, and its watchdog runs on.
    this.#beatMs = this.#isThere && microseconds > 0 ? Math.max(MIN_BEAT_MS, microseconds / 2000) : 0;
  }

  /** This process serves, and is the one to watch: after an upgrade another than the one that was started. */
  ready(status: string): Promise<void> {
    if (this.#isStopping) return this.#last;
    if (this.#beatMs > 0) {
      this.#timer ??= setInterval(() => void this.#tell(['WATCHDOG=1']), this.#beatMs);
      this.#timer.unref();
    }
    return this.#tell(['READY=1', `MAINPID=${this.#pid}`, `STATUS=${status}`]);
  }

  /** A reload or an upgrade begins; `ready` ends it. systemd wants the time on its monotonic clock. */
  reloading(status: string): Promise<void> {
    if (this.#isStopping) return this.#last;
    return this.#tell(['RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`, `STATUS=${status}`]);
  }

  stopping(status: string): Promise<void> {
    this.#isStopping = true;
    return this.#tell(['STOPPING=1', `STATUS=${status}`]);
  }

  /** Says no more: this process ends, or another is the main one now. Resolves when what was said has been heard. */
  close(): Promise<void> {
    this.#isOver = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    return this.#last;
  }

  /** Never rejects: who watches over us must not be able to stop us. */
  #tell(words: readonly string[]): Promise<void> {
    if (!this.#isThere || this.#isOver) return this.#last;
    this.#last = this.#last.then(() => this.#run(words));
    return this.#last;
  }

  #run(words: readonly string[]): Promise<void> {
    return new Promise((resolve) => {
      execFile('systemd-notify', words, { timeout: TIMEOUT_MS }, (error) => {
        if (error !== null && !this.#isTold) {
          this.#isTold = true;
          this.#log.warn(
            { error: error.message },
            'systemd cannot be told of this process; is systemd-notify installed?',
          );
        }
        resolve();
      });
    });
  }
}
