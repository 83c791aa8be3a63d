import { createHash } from 'node:crypto';

interface Item {
  readonly content: string;
  readonly md5: string;
}

export interface NacosConfigsOptions {
  /** Whether a write compares what is there with `casMd5`, as Nacos does; r-nacos does not look at it. */
  readonly compares: boolean;
  /** How long what was written is not told yet: Nacos reads from a copy that is made of its database after each write. */
  readonly lagMs: number;
}

/** The answer to a request about configs, and the keys whose listeners have to be told. */
type Answer = Readonly<Record<string, unknown>>;

const GOOD = { resultCode: 200, errorCode: 0, message: '' };
const refusal = (errorCode: number, message: string): Answer => ({ resultCode: 500, errorCode, message });

/**
 * The configs of a Nacos server, in memory: the rules, codes and messages are those in the sources of Nacos 2 (ConfigPublishRequestHandler and its neighbours) and
 * of r-nacos 0.8.8. Part of NacosPeer. They outlive the server's connections.
 */
export class NacosConfigs {
  readonly #options: NacosConfigsOptions;
  readonly #kept = new Map<string, Item>();
  readonly #told = new Map<string, Item>();
  readonly #notify: (key: string, names: Answer) => void;

  /** `notify`: a config changed for those who read. */
  constructor(options: NacosConfigsOptions, notify: (key: string, names: Answer) => void) {
    this.#options = options;
    this.#notify = notify;
  }

  /** Null for a request of another kind. */
  // biome-ignore lint/suspicious/noExplicitAny: JSON of the client under test
  answer(type: string, asked: any, listened: Set<string>): Answer | null {
    const key = keyOf(asked);
    switch (type) {
      case 'ConfigQueryRequest': {
        const item = this.#told.get(key);
        return item === undefined ? refusal(300, 'config data not exist') : { ...GOOD, ...item, contentType: 'text' };
      }
      case 'ConfigPublishRequest':
        return this.#publish(key, asked);
      case 'ConfigRemoveRequest':
        this.#kept.delete(key);
        this.#tell(key, asked);
        return GOOD;
      case 'ConfigBatchListenRequest':
        return { ...GOOD, changedConfigs: this.#listen(asked.configListenContexts, listened) };
      default:
        return null;
    }
  }

  clear(): void {
    this.#kept.clear();
    this.#told.clear();
  }

  // biome-ignore lint/suspicious/noExplicitAny: JSON of the client under test
  #publish(key: string, asked: any): Answer {
    if (!/^[\w.:-]+$/.test(asked.dataId) || !/^[\w.:-]+$/.test(asked.group)) return refusal(400, 'invalid dataId');
    if (asked.content.trim() === '') return refusal(400, `content is blank : ${asked.content}`);
    const there = this.#kept.get(key);
    const isRaced = asked.casMd5 && there !== undefined && there.md5 !== asked.casMd5;
    if (isRaced && this.#options.compares) return refusal(500, 'Cas publish fail,server md5 may have changed.');
    const md5 = createHash('md5').update(asked.content).digest('hex');
    this.#kept.set(key, { content: asked.content, md5 });
    this.#tell(key, asked);
    return GOOD;
  }

  // biome-ignore lint/suspicious/noExplicitAny: JSON of the client under test
  #listen(contexts: any[], listened: Set<string>): Answer[] {
    for (const one of contexts) listened.add(keyOf(one));
    return contexts.filter((one) => (this.#told.get(keyOf(one))?.md5 ?? '') !== one.md5);
  }

  #tell(key: string, { dataId, group, tenant }: { dataId: string; group: string; tenant: string }): void {
    const tell = () => {
      const item = this.#kept.get(key);
      if (item === undefined) this.#told.delete(key);
      else this.#told.set(key, item);
      this.#notify(key, { dataId, group, tenant });
    };
    if (this.#options.lagMs === 0) tell();
    else setTimeout(tell, this.#options.lagMs);
  }
}

function keyOf({ dataId, group, tenant }: { dataId: string; group: string; tenant: string }): string {
  return `${tenant} ${group} ${dataId}`;
}
