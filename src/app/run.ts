import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { ConfigError, OperationError } from '../base/errors.ts';
import { isStoreAddress } from '../centre/catalog.ts';
import { PrivateSockets } from '../proxy/private-sockets.ts';
import type { EvenkeelEvent } from '../telemetry/event-log.ts';
import { createLog, type Logger } from '../telemetry/log.ts';
import { catalogs } from './catalogs.ts';
import { centreSource } from './centre-source.ts';
import { compileBeside } from './compiler.ts';
import { ControlPlane } from './control-plane.ts';
import { type LoadedDocument, loadDocument } from './document.ts';
import { DocumentWatcher } from './document-watcher.ts';
import { closeInheritedSockets } from './inherited-sockets.ts';
import { type JudgedDocument, readToJudge } from './judged-document.ts';
import { lastResort } from './last-resort.ts';
import { PidFile } from './pid-file.ts';
import { Predecessor } from './predecessor.ts';
import { Supervisor } from './supervisor.ts';
import { UPGRADE_VARIABLE } from './upgrade-messages.ts';

export interface RunOptions {
  /** A file, or the address of a config centre. */
  readonly file: string;
  /** What this proxy is called in a config centre. */
  readonly name: string;
  /** Directory of the last good version of a config centre's document. */
  readonly state: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly version: string;
}

/** Exit statuses of the contract. */
export const Exit = { DONE: 0, FAILED: 1, USAGE: 2, CONFIG: 78 } as const;

/** Time left for cutting after a second signal, before the process ends itself the hard way. */
const LAST_RESORT_MS = 2000;

/** Where the document comes from, and what keeps it up to date. */
export interface DocumentSource {
  /** Reads what is to be in force now. Throws a ConfigError. */
  reread(): Promise<LoadedDocument>;
  /** Reads another text in its place, only to judge it; `variables` are those of the document in force. Never throws. */
  read(text: string, variables: LoadedDocument['variables']): JudgedDocument;
  /** Told of the running proxy; returns what ends the watching. */
  follow(plane: ControlPlane, log: Logger): Following;
}

/** What keeps a running proxy at its document. */
export interface Following {
  /** This process ends: nothing is to be put in force any more. `close` comes later. */
  rest(): void;
  /** The same, and another process has taken over. */
  leave(): void;
  close(): Promise<void>;
}

/**
 * `evenkeel run`: from a document to a process that serves until it is told to end. Resolves with the exit status. Prints one line on stdout when it
 * is ready; everything else goes to the log on stderr.
 */
export async function runProxy(options: RunOptions): Promise<number> {
  const predecessor = Predecessor.find(process, () => endOrphan());
  if (predecessor !== null) closeInheritedSockets();
  let source: DocumentSource;
  let document: LoadedDocument;
  try {
    source = isStoreAddress(options.file) ? await centreSource(options) : fileSource(options);
    document = await source.reread();
  } catch (error) {
    if (!(error instanceof ConfigError) && !(error instanceof OperationError)) throw error;
    process.stderr.write(error instanceof ConfigError ? `${error.message}\n` : `evenkeel: ${error.message}\n`);
    await predecessor?.failed(error);
    return error instanceof ConfigError || error.code === 'empty-centre' ? Exit.CONFIG : Exit.FAILED;
  }
  const { log, configure, flushSync } = await createLog(document.document.log);
  const plane = new ControlPlane({
    document,
    reread: source.reread,
    read: source.read,
    log,
    configureLog: configure,
    version: options.version,
    predecessor,
    startSuccessor: startAgain,
  });
  const watching = source.follow(plane, log);
  const supervisor = new Supervisor({ environment: options.environment, log });
  const pidFile = new PidFile(document.document.runtime.pidFile ?? null, log);
  const stop = plane.events.listen((event) => {
    if (event.type === 'upgraded') watching.leave();
    if (event.type === 'draining') watching.rest();
    tellSupervisor(event, supervisor, pidFile);
  });
  const status = await serve(plane, log, announce(plane), predecessor);
  stop();
  await supervisor.close();
  await pidFile.remove();
  await watching.close();
  flushSync();
  return status;
}

function fileSource({ file, environment }: RunOptions): DocumentSource {
  return {
    reread: () => loadDocument(file, environment, catalogs),
    read: (text, variables) => readToJudge(text, 'the document', environment, variables),
    follow: (plane) => watchDocument(plane, file),
  };
}

/** Starts a control plane, serves until a signal, ends it. Used by `run` and `demo`. */
export async function serve(
  plane: ControlPlane,
  log: Logger,
  onReady: (admin: string | null) => void,
  predecessor: Predecessor | null = null,
): Promise<number> {
  compileBeside();
  const ended = Promise.withResolvers<string>();
  const stop = plane.events.listen((event) => {
    if (event.type === 'upgraded') ended.resolve(`process ${event.pid} took over`);
  });
  const signals = listenToSignals(plane, log, ended.resolve);
  try {
    warnAboutKernel(log);
    tellFastPath(plane, log);
    const started = plane.start();
    const first = await Promise.race([started, ended.promise]);
    if (typeof first !== 'string') onReady(first.admin);
    const signal = await ended.promise;
    lastResort(plane.endingMs + LAST_RESORT_MS);
    if (typeof first !== 'string') await plane.drain(signal);
    await plane.close();
    return Exit.DONE;
  } catch (error) {
    const message =
      error instanceof OperationError ? error.message : String(error instanceof Error ? error.stack : error);
    process.stderr.write(`evenkeel: ${message}\n`);
    await predecessor?.failed(error);
    await plane.close().catch(() => {});
    return Exit.FAILED;
  } finally {
    stop();
    signals.close();
  }
}

/** What whoever watches over this process should know of it. */
function tellSupervisor(event: EvenkeelEvent, supervisor: Supervisor, pidFile: PidFile): void {
  switch (event.type) {
    case 'ready':
      void pidFile.write();
      return void supervisor.ready('serving');
    case 'reloading':
      return void supervisor.reloading('reloading');
    case 'reloaded':
      return void supervisor.ready(`serving version ${event.version}`);
    case 'reload-refused':
      return void supervisor.ready('serving; the last reload was refused');
    case 'upgrading':
      return void supervisor.reloading(`upgrading to process ${event.pid}`);
    case 'upgrade-failed':
      // The other process may have come as far as to write its own.
      void pidFile.write();
      return void supervisor.ready('serving; the last upgrade failed');
    case 'upgraded':
      return void supervisor.close();
    case 'draining':
      return void supervisor.stopping(event.reason);
  }
}

/** Reloads when the file changes, as long as the document in force says `runtime.watch`. */
function watchDocument(plane: ControlPlane, file: string): Following {
  let watcher: DocumentWatcher | null = null;
  const follow = ({ type }: { readonly type: string }) => {
    if (type !== 'ready' && type !== 'reloaded') return;
    const { document, version } = plane.inForce.loaded;
    if (document.runtime.watch === (watcher !== null)) return;
    watcher?.close();
    watcher = document.runtime.watch ? new DocumentWatcher({ file, onChange: () => void plane.reload() }) : null;
    void watcher?.start(version);
  };
  const stop = plane.events.listen(follow);
  const rest = () => {
    stop();
    watcher?.close();
  };
  return { rest, leave: rest, close: async () => rest() };
}

function announce(plane: ControlPlane) {
  return (admin: string | null): void => {
    const places = plane.addresses.map(({ name, addresses }) => `${name} on ${addresses.join(', ')}`).join('; ');
    process.stdout.write(`evenkeel is ready: ${places}${admin === null ? '' : `; admin on http://${admin}`}\n`);
  };
}

function listenToSignals(plane: ControlPlane, log: Logger, end: (signal: string) => void): { close(): void } {
  let told = false;
  const onEnd = (signal: NodeJS.Signals) => {
    if (!told) {
      told = true;
      return end(signal);
    }
    log.warn({ signal }, 'second signal: cutting every connection');
    plane.cut();
    lastResort(LAST_RESORT_MS);
  };
  const onReload = (signal: NodeJS.Signals) => void plane.reloadBySignal(signal);
  const onReopen = () => plane.reopenLogs();
  const onUpgrade = () => void plane.upgrade();
  process.on('SIGTERM', onEnd);
  process.on('SIGINT', onEnd);
  process.on('SIGHUP', onReload);
  process.on('SIGUSR1', onReopen);
  process.on('SIGUSR2', onUpgrade);
  const onHook = (message: unknown) => injectFault(plane, message);
  if (process.env.EVENKEEL_TEST_HOOKS === '1') process.on('message', onHook);
  return {
    close() {
      process.off('SIGTERM', onEnd);
      process.off('SIGINT', onEnd);
      process.off('SIGHUP', onReload);
      process.off('SIGUSR1', onReopen);
      process.off('SIGUSR2', onUpgrade);
      process.off('message', onHook);
      if (process.connected) process.disconnect?.();
    },
  };
}

/** The program as it lies on disk now, called as this process was. Its output goes where ours does. */
function startAgain(): ChildProcess {
  return spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, [UPGRADE_VARIABLE]: '1' },
  });
}

/** The process that was to be succeeded is gone before this one was ready: whoever watches over it decides what is next. */
function endOrphan(): void {
  process.stderr.write('evenkeel: the process to take over from ended before this one was ready\n');
  process.exit(Exit.FAILED);
}

/** Faults a parent process with an IPC channel may ask for: `{ fault: 'die' | 'hang' | 'stall' | 'spare', worker, ms }`. */
function injectFault(plane: ControlPlane, message: unknown): void {
  const { fault, worker, ms } = message as { fault?: string; worker?: number; ms?: number };
  if (fault === 'spare') plane.workers.injectSpareFault();
  else if (fault === 'die' || fault === 'hang') plane.workers.injectFault(worker ?? 0, { kind: fault });
  else if (fault === 'stall') plane.workers.injectFault(worker ?? 0, { kind: 'stall', ms: ms ?? 1000 });
}

/** Workers find out for themselves, by the same Node. */
function tellFastPath(plane: ControlPlane, log: Logger): void {
  const isWanted = plane.inForce.options.runtime.fastPath === 'auto';
  const isThere = PrivateSockets.detect(new Socket()) !== null;
  if (!isWanted) log.info({ fastPath: 'off' }, 'sockets by the documented API of Node, as the document says');
  else if (isThere) log.info({ fastPath: 'on' }, 'sockets by the fast path');
  else
    log.warn(
      { fastPath: 'missing' },
      `sockets by the documented API: the fast path is not for Node ${process.version}`,
    );
}

/** What a worker's death costs depends on one setting of the kernel. */
function warnAboutKernel(log: Logger): void {
  try {
    if (readFileSync('/proc/sys/net/ipv4/tcp_migrate_req', 'utf8').trim() !== '0') return;
    log.info(
      'net.ipv4.tcp_migrate_req is 0: connections waiting for a worker that dies are lost; set it to 1 to keep them',
    );
  } catch {
    // Another system, or an old kernel: nothing to say.
  }
}
