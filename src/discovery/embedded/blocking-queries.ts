import type { Random } from '../../base/random.ts';
import { WheelTimer } from '../../base/timer-wheel.ts';
import { Answer } from './answer.ts';
import type { ApiCall } from './api-call.ts';
import { ApiError } from './api-error.ts';
import { parseGoDuration } from './go-duration.ts';
import type { Ticker } from './ticker.ts';
import type { Topic, Topics, Waiter } from './topics.ts';

export const DATACENTER = 'dc1';
const DEFAULT_WAIT_MS = 300_000;
const MAX_WAIT_MS = 600_000;
/** An index from the future is a client that knew another registry: it hears the truth soon, but not at once lest it spin. */
const AHEAD_WAIT_MS = 1000;
/** Clients that may wait at the same time: about 40 KB each. */
const MAX_WAITING = 20_000;

/** One readable thing: what it is now, and what to wait on for it to change. */
export interface View {
  /** Key of its topic. */
  readonly topic: string;
  index(): number;
  /** Whether the thing is there; the topic of one that is not lives only as long as its waiters. */
  exists(): boolean;
  /** What is answered, as Consul shapes it. */
  render(): unknown;
  /** Set where Consul does not tell how consistent an answer is. */
  readonly hidesConsistency?: true;
  /** Answers in another form than JSON of what is rendered; true when it did. */
  send?(headers: readonly string[]): boolean;
}

/** Answers reads of the catalog: at once, or when the index has passed the one the client knows. */
export class BlockingQueries {
  readonly #topics: Topics;
  readonly #ticker: Ticker;
  readonly #random: Random;
  /** Ends of the calls that wait, answered as things are. */
  readonly #parked = new Set<() => void>();

  constructor(topics: Topics, ticker: Ticker, random: Random) {
    this.#topics = topics;
    this.#ticker = ticker;
    this.#random = random;
  }

  get waiting(): number {
    return this.#parked.size;
  }

  /** Answers every call that waits now; its client asks again. */
  endAll(): void {
    for (const finish of [...this.#parked]) finish();
  }

  answer(call: ApiCall, view: View): void {
    const asked = readOptions(call);
    if (asked.index === 0) return this.#send(call, view);
    const current = view.index();
    if (asked.index < current) return this.#send(call, view);
    const ms =
      asked.index > current
        ? Math.min(asked.waitMs, AHEAD_WAIT_MS * (0.5 + this.#random() / 2))
        : asked.waitMs * (1 + this.#random() / 16);
    const news = () => view.index() > asked.index;
    this.wait(call, view.topic, ms, news, view.exists, () => this.#send(call, view));
  }

  /** Parks the call until there is news of the topic or the time is over, then calls `answer`; a client that leaves is forgotten. */
  wait(
    call: ApiCall,
    topicKey: string,
    ms: number,
    hasNews: () => boolean,
    subjectExists: () => boolean,
    answer: () => void,
  ): void {
    if (this.#parked.size >= MAX_WAITING) throw new ApiError(429, 'Too many blocking queries');
    const topic = this.#topics.get(topicKey);
    const end = () => {
      this.#parked.delete(finish);
      this.#ticker.disarm(timer);
      call.notGone(end);
      this.#topics.leave(topic, waiter, subjectExists());
    };
    const finish = () => {
      end();
      answer();
    };
    const waiter: Waiter = {
      wake: () => {
        if (hasNews()) finish();
      },
    };
    const timer = new WheelTimer(finish);
    this.#parked.add(finish);
    topic.waiters.add(waiter);
    call.onGone(end);
    this.#ticker.arm(timer, ms);
  }

  #send(call: ApiCall, view: View): void {
    const consistency = call.flag('stale') ? 'stale' : call.flag('consistent') ? 'consistent' : 'leader';
    const headers = [
      'X-Consul-Index',
      String(view.index()),
      'X-Consul-Knownleader',
      'true',
      'X-Consul-Lastcontact',
      '0',
    ];
    if (view.hidesConsistency !== true) headers.unshift('X-Consul-Effective-Consistency', consistency);
    if (view.send?.(headers) === true) return;
    const { answer, hit } = this.#answerOf(call, view);
    if (call.flag('cached')) headers.push('X-Cache', hit ? 'HIT' : 'MISS', ...(hit ? ['Age', '0'] : []));
    call.json(answer, 200, headers);
  }

  #answerOf(call: ApiCall, view: View): { answer: Answer; hit: boolean } {
    // Only what is there is kept: anybody may ask for any name.
    if (!view.exists()) return { answer: new Answer(view.render(), call.flag('pretty')), hit: false };
    const topic: Topic = this.#topics.get(view.topic);
    const question = questionOf(call);
    const kept = topic.answers.get(question);
    if (kept !== undefined) return { answer: kept, hit: true };
    const answer = new Answer(view.render(), call.flag('pretty'));
    this.#topics.keep(topic, question, answer);
    return { answer, hit: false };
  }
}

const HOW = new Set(['index', 'wait', 'stale', 'consistent', 'cached', 'dc', 'near', 'token', 'partition', 'hash']);

/** The call without what only says how it is asked: calls with the same question have the same answer. */
function questionOf(call: ApiCall): string {
  let question = call.path;
  for (const [name, value] of call.query) if (!HOW.has(name)) question += `\n${name}=${value}`;
  return question;
}

/** Checks the options that every read has; throws with Consul's texts. */
function readOptions(call: ApiCall): { index: number; waitMs: number } {
  checkScope(call);
  if (call.flag('stale') && call.flag('consistent'))
    throw new ApiError(400, 'Cannot specify ?stale with ?consistent, conflicting semantics.');
  const indexText = call.query.get('index') ?? '';
  if (!/^\d{0,19}$/.test(indexText)) throw new ApiError(400, 'Invalid index');
  return { index: Number(indexText), waitMs: readWait(call) };
}

/** `wait` in ms: 5 minutes unless said otherwise, 10 at most. */
export function readWait(call: ApiCall): number {
  const text = call.query.get('wait') ?? '';
  const ms = text === '' ? 0 : parseGoDuration(text);
  if (ms === null || ms < 0) throw new ApiError(400, 'Invalid wait time');
  return ms === 0 ? DEFAULT_WAIT_MS : Math.min(ms, MAX_WAIT_MS);
}

/** Another datacenter or namespace than the one there is. */
export function checkScope(call: ApiCall): void {
  const datacenter = call.query.get('dc') ?? '';
  if (datacenter !== '' && datacenter !== DATACENTER) throw new ApiError(500, 'No path to datacenter', true);
  if (call.query.get('ns')) {
    const what = 'Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature';
    throw new ApiError(400, `Bad request: ${what}`);
  }
}
