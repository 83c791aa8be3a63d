import type { Answer } from './answer.ts';

/** A query that waits for news of a topic. */
export interface Waiter {
  /** Called in a later turn than the change, once for all changes of that turn. May park again or leave. */
  wake(): void;
}

/** Something that can be watched: a service, a node, a list. Its index is that of its last change. */
export interface Topic {
  readonly key: string;
  index: number;
  readonly waiters: Set<Waiter>;
  /** What was answered about it since its last change, by kind of question: woken watchers who ask the same share one buffer. */
  readonly answers: Map<string, Answer>;
}

export const topicOf = {
  service: (name: string) => `service/${name}`,
  node: (name: string) => `node/${name}`,
  nodes: 'nodes',
  services: 'services',
  checks: 'checks',
  key: (name: string) => `key/${name}`,
  /** Any key. */
  keys: 'keys',
} as const;

/** Answers kept for one topic; more kinds of question than this start afresh. */
const ANSWERS_PER_TOPIC = 16;
/** Bytes kept for all topics together. */
const ANSWER_BYTES = 64 * 1024 * 1024;

/** Who waits for what, and what they were told last. */
export class Topics {
  readonly #topics = new Map<string, Topic>();
  readonly #touched = new Set<Topic>();
  #flushing = false;
  #answerBytes = 0;

  /** The topic, made when it is new. A topic without change and waiter is forgotten by `leave`. */
  get(key: string): Topic {
    const known = this.#topics.get(key);
    if (known !== undefined) return known;
    const topic: Topic = { key, index: 0, waiters: new Set(), answers: new Map() };
    this.#topics.set(key, topic);
    return topic;
  }

  indexOf(key: string): number {
    return this.#topics.get(key)?.index ?? 0;
  }

  /** Something of the topic changed: what was answered is void, who waits is woken in the next turn. */
  touch(key: string, index: number): void {
    const topic = this.get(key);
    topic.index = index;
    this.#forget(topic);
    if (topic.waiters.size === 0) return;
    this.#touched.add(topic);
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(() => this.#flush());
  }

  /** The subject is gone: its topic stays only as long as somebody waits for it to come back. */
  drop(key: string): void {
    const topic = this.#topics.get(key);
    if (topic !== undefined && topic.waiters.size === 0) this.#remove(topic);
  }

  leave(topic: Topic, waiter: Waiter, subjectExists: boolean): void {
    topic.waiters.delete(waiter);
    if (topic.waiters.size === 0 && !subjectExists) this.#remove(topic);
  }

  keep(topic: Topic, question: string, answer: Answer): void {
    if (topic.answers.size >= ANSWERS_PER_TOPIC) this.#forget(topic);
    if (this.#answerBytes + answer.size > ANSWER_BYTES) for (const each of this.#topics.values()) this.#forget(each);
    topic.answers.set(question, answer);
    this.#answerBytes += answer.size;
  }

  #remove(topic: Topic): void {
    this.#forget(topic);
    this.#topics.delete(topic.key);
  }

  #forget(topic: Topic): void {
    if (topic.answers.size === 0) return;
    for (const answer of topic.answers.values()) this.#answerBytes -= answer.size;
    topic.answers.clear();
  }

  #flush(): void {
    this.#flushing = false;
    const touched = [...this.#touched];
    this.#touched.clear();
    for (const topic of touched) for (const waiter of [...topic.waiters]) waiter.wake();
  }
}
