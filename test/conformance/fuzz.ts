import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { type RawClient, rawClient } from '../helpers/raw-client.ts';
import { difference } from './llhttp.ts';
import { LIMITS, viewRequest, viewResponse } from './messages.ts';
import { mutantOf, numbersFrom } from './mutants.ts';

export interface FuzzOptions {
  readonly messages: number;
  readonly seed: number;
  /** First message: to see one of a run again. */
  readonly from: number;
  /** Every so many messages one is a request that goes through a running proxy, too; 0 for none. */
  readonly proxiedEvery: number;
  readonly say: (line: string) => void;
  readonly keep: (index: number, kind: string, bytes: Buffer, why: string) => void;
}

const BATCH = 10_000;
/** Requests on their way to the proxy at once. */
const AT_ONCE = 32;
/** What a message through the proxy may take: the proxy's own timeouts are shorter. */
const HANG_MS = 5000;
/** Part of the run that warms up, and how much memory may grow behind it. */
const WARM_UP = 0.3;
const GROWTH_MB = 48;

/** Runs it and returns the number of failures; what the memory came to is one of them when it grew. */
export async function runFuzz(options: FuzzOptions): Promise<number> {
  const { messages, seed, from, proxiedEvery, say } = options;
  const tally = { agreed: 0, refused: 0, outside: 0, proxied: 0, answered: 0, failures: 0 };
  const memory: { own: number; proxy: number }[] = [];
  const world = proxiedEvery > 0 ? await World.start() : null;
  const startedMs = performance.now();
  try {
    for (let i = from; i < from + messages; i += BATCH) {
      const end = Math.min(i + BATCH, from + messages);
      const proxied: { index: number; bytes: Buffer }[] = [];
      for (let index = i; index < end; index++) {
        const next = numbersFrom(seed * 7919 + index);
        const isProxied = proxiedEvery > 0 && index % proxiedEvery === 0;
        const kind = isProxied || next() < 0.5 ? 'request' : 'response';
        const bytes = mutantOf(kind, next);
        const { was, why } = readerFault(kind, bytes, next);
        tally[was]++;
        if (why !== '') {
          tally.failures++;
          options.keep(index, kind, bytes, why);
        }
        if (isProxied) proxied.push({ index, bytes });
      }
      if (world !== null) tally.failures += await world.send(proxied, options.keep);
      tally.proxied += proxied.length;
      memory.push({ own: process.memoryUsage.rss() / 2 ** 20, proxy: ((await world?.proxy.memory()) ?? 0) / 2 ** 20 });
      const perSecond = Math.round((end - from) / ((performance.now() - startedMs) / 1000));
      const { own, proxy } = memory.at(-1) as { own: number; proxy: number };
      if (memory.length % 5 === 0 || end === from + messages)
        say(
          `${end - from} messages, ${perSecond}/s: ${tally.agreed} agreed, ${tally.refused} refused, ${tally.outside} outside, ${tally.proxied} through the proxy (${world?.answered ?? 0} answered, ${world?.reached ?? 0} reached the endpoint), ${tally.failures} failed; ${own.toFixed(0)} MiB here, ${proxy.toFixed(0)} MiB there`,
        );
    }
    if (world !== null) await world.settled();
  } finally {
    await world?.close();
  }
  return tally.failures + growth(memory, say);
}

/** What is wrong with how a message is read, '' when nothing is: another parser reads it differently, or other pieces make it another one. */
function readerFault(
  kind: 'request' | 'response',
  bytes: Buffer,
  next: () => number,
): { was: 'agreed' | 'refused' | 'outside'; why: string } {
  const { what, was } = difference(kind, bytes);
  if (what !== '') return { was, why: what };
  const view = kind === 'request' ? viewRequest : viewResponse;
  const ends = Array.from({ length: Math.floor(next() * 6) }, () => Math.floor(next() * bytes.length)).sort(
    (a, b) => a - b,
  );
  const whole = JSON.stringify(view(bytes, [bytes.length], LIMITS));
  const split = JSON.stringify(view(bytes, [...ends, bytes.length], LIMITS));
  return { was, why: whole === split ? '' : `whole: ${whole}\nsplit at ${ends.join()}: ${split}` };
}

function growth(memory: readonly { own: number; proxy: number }[], say: (line: string) => void): number {
  const steady = memory.slice(Math.floor(memory.length * WARM_UP));
  if (steady.length < 8) return 0;
  const quarter = Math.floor(steady.length / 4);
  const mean = (part: typeof steady, key: 'own' | 'proxy') =>
    part.reduce((sum, one) => sum + one[key], 0) / part.length;
  const grown = (['own', 'proxy'] as const).map(
    (key) => mean(steady.slice(-quarter), key) - mean(steady.slice(0, quarter), key),
  );
  say(
    `memory after warm-up, last quarter less the first: ${grown.map((mb) => `${mb.toFixed(1)} MiB`).join(' here, ')} there`,
  );
  return grown.filter((mb) => mb > GROWTH_MB).length;
}

/** A running proxy with an endpoint behind it whose parser is not ours. */
class World {
  readonly proxy: RunningProxy;
  readonly #origin: Origin;
  answered = 0;

  constructor(proxy: RunningProxy, origin: Origin) {
    this.proxy = proxy;
    this.#origin = origin;
  }

  static async start(): Promise<World> {
    const origin = await startOrigin(async (asked, reply) => {
      if (asked.fields.get('expect') !== undefined) reply.raw('HTTP/1.1 100 Continue\r\n\r\n');
      await asked.ended;
      reply.send(200, asked.method === 'HEAD' ? '' : 'ok');
    });
    const timeouts = { head: '1s', body: '1s', idle: '1s' };
    const proxy = await startProxy({
      log: { level: 'warn' },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', timeouts, pool: 'web' }],
      pools: { web: { endpoints: [{ address: origin.address }], ejection: 'off', timeouts: { response: '2s' } } },
    });
    return new World(proxy, origin);
  }

  get reached(): number {
    return this.#reached;
  }

  #reached = 0;

  /** Sends each message on a connection of its own and waits until the proxy has ended it. Returns the number of failures. */
  async send(batch: { index: number; bytes: Buffer }[], keep: FuzzOptions['keep']): Promise<number> {
    let failures = 0;
    const waiting = [...batch];
    const work = async () => {
      for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
        const why = await this.#sendOne(one.bytes).catch(String);
        if (why === '') continue;
        failures++;
        keep(one.index, 'proxied', one.bytes, why);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    await using next = await rawClient(this.proxy.port());
    if ((await next.ask('GET', '/next')).text !== 'ok') failures++;
    this.#reached += this.#origin.requests.length;
    // What reaches the endpoint is framed soundly, whatever the client sent.
    for (const fault of this.#origin.faults.splice(0)) {
      failures++;
      keep(-1, 'endpoint', Buffer.from(fault), 'the endpoint was sent what its parser does not take');
    }
    this.#origin.requests.splice(0);
    return failures;
  }

  async #sendOne(bytes: Buffer): Promise<string> {
    await using client: RawClient = await rawClient(this.proxy.port());
    client.write(bytes);
    // Half of it closed: whatever is not whole by now ends at once, what is whole was answered or is cancelled.
    await Promise.race([
      client.until(() => (client.receivedLength > 0 ? true : null), 'a byte', 300).catch(() => {}),
      client.ended(300).catch(() => {}),
    ]);
    client.end();
    await client.ended(HANG_MS);
    if (client.receivedBytes > 0) this.answered++;
    const text = client.received.toString('latin1');
    return text === '' || /^HTTP\/1\.1 [1-5]\d\d /.test(text)
      ? ''
      : `the client got ${JSON.stringify(text.slice(0, 80))}`;
  }

  /** Nothing stays open. */
  async settled(): Promise<void> {
    await eventually(async () => (await this.proxy.metric('evenkeel_connections_active', { listener: 'web' })) === 0);
    if (this.proxy.child.stderr.includes('worker-died')) throw new Error('a worker died');
  }

  async close(): Promise<void> {
    await this.proxy.stop();
    await this.#origin.close();
  }
}
