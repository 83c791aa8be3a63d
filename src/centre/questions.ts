import { z } from 'zod';
import type { Random } from '../base/random.ts';
import { parseSaved } from '../base/saved-file.ts';
import type { Store, Stored } from './store.ts';
import { FORMAT } from './version.ts';

const QUESTIONS = 'questions';
/** Who asked this long ago and has not taken the question back has died. */
const STALE_MS = 60_000;
/** Stands where nothing is asked: stores can watch a key that is there without looking at its neighbours. */
const NOTHING = JSON.stringify({ format: FORMAT, kind: 'nothing' });

const questionSchema = z.object({
  format: z.literal(FORMAT),
  kind: z.literal('question'),
  key: z.string(),
  time: z.string(),
  document: z.string(),
});
const lines = z.array(z.string()).readonly();
const groups = z
  .array(
    z.object({ listener: z.string(), from: z.string(), to: z.string(), requests: z.number(), example: z.string() }),
  )
  .readonly();
const answerSchema = z.object({
  format: z.literal(FORMAT),
  kind: z.literal('answer'),
  key: z.string(),
  proxy: z.string(),
  judgement: z.object({
    id: z.string(),
    problems: lines,
    unjudged: lines,
    changes: lines,
    replay: z.object({ sampled: z.number(), moved: groups, failing: groups, unknown: z.number() }).nullable(),
  }),
});

/** What a proxy makes of a document. */
export type ProxyAnswer = Pick<z.output<typeof answerSchema>, 'proxy' | 'judgement'>;

/**
 * Documents that are put to living proxies for judgement, through the store that they follow: whoever can push can ask, wherever the proxies are. A proxy has one
 * key; the question stands there, then the answer in its place, until who asked takes it back. An answer that nobody waits for is not written.
 */
export class Questions {
  readonly #store: Store;
  readonly #wallClock: () => number;
  readonly #random: Random;

  constructor(store: Store, { wallClock, random }: { readonly wallClock: () => number; readonly random: Random }) {
    this.#store = store;
    this.#wallClock = wallClock;
    this.#random = random;
  }

  /** The first answer of one of these proxies; null when none has answered in time. Rejects with an OperationError when the store cannot be asked. */
  async ask(proxies: readonly string[], document: string, patienceMs: number): Promise<ProxyAnswer | null> {
    const key = this.#random().toString(36).slice(2);
    const text = JSON.stringify({
      format: FORMAT,
      kind: 'question',
      key,
      time: new Date(this.#wallClock()).toISOString(),
      document,
    });
    const asked: string[] = [];
    try {
      for (const proxy of proxies) if (await this.#put(proxy, text)) asked.push(proxy);
      return asked.length === 0 ? null : await this.#firstAnswer(asked, key, patienceMs);
    } finally {
      await Promise.all(asked.map((proxy) => this.#takeBack(proxy, key).catch(() => {})));
    }
  }

  /** Judges what `proxy` is asked, until closed. `failed` is told what goes wrong on the way; the question is then not answered. */
  answer(
    proxy: string,
    judge: (document: string) => Promise<ProxyAnswer['judgement']>,
    failed: (error: Error) => void,
  ): { close(): void } {
    const take = async (stored: Stored | null): Promise<void> => {
      if (stored === null) return this.#store.set(keyOf(proxy), NOTHING);
      const question = parse(stored, questionSchema);
      if (question === null) return;
      const judgement = await judge(question.document);
      const text = JSON.stringify({ format: FORMAT, kind: 'answer', key: question.key, proxy, judgement });
      await this.#store.put(keyOf(proxy), text, stored.revision);
    };
    return this.#store.watch(keyOf(proxy), {
      changed: (stored) => void take(stored).catch(failed),
      unavailable() {},
    });
  }

  /** The proxy is gone. */
  async forget(proxy: string): Promise<void> {
    await this.#store.remove(keyOf(proxy));
  }

  /** False when the proxy answers no questions, or somebody else waits for its answer. */
  async #put(proxy: string, text: string): Promise<boolean> {
    const there = await this.#store.get(keyOf(proxy));
    if (there === null) return false;
    const other = parse(there, questionSchema);
    if (other !== null && this.#wallClock() - Date.parse(other.time) < STALE_MS) return false;
    return this.#store.put(keyOf(proxy), text, there.revision);
  }

  async #takeBack(proxy: string, key: string): Promise<void> {
    const there = await this.#store.get(keyOf(proxy));
    const ours = parse(there, questionSchema) ?? parse(there, answerSchema);
    if (there !== null && ours?.key === key) await this.#store.put(keyOf(proxy), NOTHING, there.revision);
  }

  #firstAnswer(proxies: readonly string[], key: string, patienceMs: number): Promise<ProxyAnswer | null> {
    const { promise, resolve } = Promise.withResolvers<ProxyAnswer | null>();
    const timer = setTimeout(() => resolve(null), patienceMs);
    const watches = proxies.map((proxy) =>
      this.#store.watch(keyOf(proxy), {
        changed: (stored) => {
          const answer = parse(stored, answerSchema);
          if (answer?.key === key) resolve(answer);
        },
        unavailable() {},
      }),
    );
    return promise.finally(() => {
      clearTimeout(timer);
      for (const watch of watches) watch.close();
    });
  }
}

function keyOf(proxy: string): string {
  return `${QUESTIONS}/${proxy}`;
}

/** Null for what is something else, or nothing that can be used. */
function parse<T extends z.ZodType>(stored: Stored | null, schema: T): z.output<T> | null {
  if (stored === null) return null;
  const parsed = parseSaved(stored.text, schema, FORMAT, 'a question to a proxy');
  return typeof parsed === 'string' ? null : (parsed as z.output<T>);
}
