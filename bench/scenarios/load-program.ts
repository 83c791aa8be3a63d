// `load-program.ts PLAN` (JSON of a LoadPlan): sends GET requests at Poisson times whether or not earlier ones are answered. Latency counts from the moment a request was
// meant to be sent. Prints `warm`, a moment later `begins MS` (monotonic), and, when it has all answers `done`; what it saw is in the plan's file.
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { seededRandom } from '../../src/base/random.ts';
import { FOREMOST, goFirst } from '../rig/machine.ts';
import { Alarm } from './alarm.ts';
import { type LoadPlan, Records } from './load-plan.ts';
import { monotonicMs } from './monotonic.ts';

// It shares a core with the endpoints: a request is sent when it is due, and they answer behind it.
goFirst(FOREMOST);

const plan: LoadPlan = JSON.parse(process.argv[2]);
const random = seededRandom(plan.seed);
const heads = Array.from({ length: plan.keys }, (_, key) =>
  Buffer.from(`GET /item/${key} HTTP/1.1\r\nHost: bench.example.com\r\n\r\n`),
);
const HEAD_END = Buffer.from('\r\n\r\n');
const LENGTH = /\r\ncontent-length: *(\d+)/i;
/** At the ceiling requests wait for a connection; that counts as their latency. */
const MAX_CONNECTIONS = 6000;
const OPENED_FIRST = 64;
/** Between the warm-up and the load that counts. */
const PAUSE_MS = 200;
/** Before another connection is opened in place of one that ended: a proxy that is gone must not make us spin. */
const REOPEN_MS = 10;
/** However slow everything is, it ends this long after it should have. */
const OVERTIME_MS = 10_000;
/** After the last request answers are waited for this long; what has none then is lost. */
const GRACE_MS = 3000;

const idle: Connection[] = [];
const waiting: Request[] = [];
const total = Math.ceil(plan.rate * plan.seconds * 1.1) + 1000;
const records = new Records(total);
let opened = 0;

interface Request {
  /** Index of its record; -1 in the warm-up. */
  readonly index: number;
  readonly meantMs: number;
}

class Connection {
  readonly #socket: Socket;
  #request: Request | null = null;
  #rest: Buffer | null = null;

  constructor(onReady: (connection: Connection) => void) {
    opened++;
    this.#socket = connect({ port: plan.port, host: plan.host, noDelay: true });
    this.#socket.on('connect', () => onReady(this));
    this.#socket.on('data', (bytes: Buffer) => this.#read(bytes));
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => this.#closed());
  }

  send(request: Request): void {
    this.#request = request;
    this.#socket.write(heads[Math.floor(random() * heads.length)]);
  }

  #read(bytes: Buffer): void {
    const all: Buffer = this.#rest === null ? bytes : Buffer.concat([this.#rest, bytes]);
    const headEnd = all.indexOf(HEAD_END);
    const head = headEnd < 0 ? '' : all.toString('latin1', 0, headEnd + 2);
    const length = Number(LENGTH.exec(head)?.[1] ?? 0);
    const isWhole = headEnd >= 0 && all.length >= headEnd + 4 + length;
    this.#rest = isWhole ? null : all;
    if (!isWhole || this.#request === null) return;
    const { index, meantMs } = this.#request;
    this.#request = null;
    if (index >= 0) records.answered(index, monotonicMs() - meantMs, Number(head.slice(9, 12)));
    if (/\r\nconnection: *close/i.test(head)) return void this.#socket.destroy();
    const next = waiting.shift();
    if (next === undefined) idle.push(this);
    else this.send(next);
  }

  /** A request that was on it is lost, as its client would see it. */
  #closed(): void {
    opened--;
    if (this.#request !== null && this.#request.index >= 0)
      records.answered(this.#request.index, monotonicMs() - this.#request.meantMs, 0);
    const at = idle.indexOf(this);
    if (at >= 0) idle.splice(at, 1);
    if (waiting.length > 0) setTimeout(openForWaiting, REOPEN_MS);
  }
}

function openForWaiting(): void {
  if (waiting.length > 0 && opened < MAX_CONNECTIONS) new Connection(useNew);
}

function useNew(connection: Connection): void {
  const next = waiting.shift();
  if (next === undefined) idle.push(connection);
  else connection.send(next);
}

function send(request: Request): void {
  const connection = idle.pop();
  if (connection !== undefined) return connection.send(request);
  waiting.push(request);
  if (opened < MAX_CONNECTIONS) new Connection(useNew);
}

/** Sends at Poisson times from now on; resolves when the time is over. */
function sendFor(rate: number, seconds: number, isCounted: boolean): Promise<void> {
  const beginMs = monotonicMs();
  const endMs = beginMs + seconds * 1000;
  if (isCounted) process.stdout.write(`begins ${beginMs}\n`);
  let nextMs = beginMs;
  return new Promise((resolve) => {
    onDue = () => {
      const nowMs = monotonicMs();
      for (; nextMs <= nowMs && nextMs < endMs; nextMs += (-Math.log(1 - random()) * 1000) / rate)
        send({ index: isCounted ? records.add(nextMs, nowMs - nextMs) : -1, meantMs: nextMs });
      if (nextMs >= endMs) resolve();
      else alarm.set(nextMs);
    };
    onDue();
  });
}

const planned = (plan.warmUp.seconds + plan.seconds) * 1000 + GRACE_MS;
setTimeout(() => process.exit(1), planned + OVERTIME_MS).unref();
let onDue = (): void => {};
const alarm = await Alarm.start(() => onDue());
let left = OPENED_FIRST;
await new Promise<void>((resolve) => {
  for (let i = 0; i < OPENED_FIRST; i++)
    new Connection((connection) => (idle.push(connection), --left === 0 && resolve()));
});
await sendFor(plan.warmUp.rate, plan.warmUp.seconds, false);
process.stdout.write('warm\n');
await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
await sendFor(plan.rate, plan.seconds, true);
const deadlineMs = monotonicMs() + GRACE_MS;
while (records.unanswered > 0 && monotonicMs() < deadlineMs) await new Promise((resolve) => setTimeout(resolve, 20));
writeFileSync(plan.file, records.bytes());
process.stdout.write('done\n', () => process.exit(0));
