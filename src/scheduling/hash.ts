import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import { orOff, shown } from '../base/literals.ts';
import type { Random } from '../base/random.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import { type EndpointSet, Tried } from '../endpoint/endpoint-set.ts';
import { type HashKey, parseHashKey } from './hash-key.ts';
import type { KeyOrder } from './key-order.ts';
import { LoadBound } from './load-bound.ts';
import { Maglev } from './maglev.ts';
import { Rendezvous } from './rendezvous.ts';
import type { Scheduler, SchedulerContext } from './scheduler.ts';

const NOT_TRIED = new Tried();
const HASHES = 0x7fffffff;

/**
 * The same endpoint for the same value of a header, cookie, query parameter, path or client address: on every worker, after reloads and restarts, in
 * every evenkeel with the same endpoints. Who is down, tried or (with a bound) at its limit yields to the next in the key's own order.
 * Requests without the value are spread by weight.
 */
class HashScheduler implements Scheduler {
  readonly hashOn: HashKey;
  readonly #order: KeyOrder;
  readonly #bound: LoadBound | null;
  readonly #random: Random;

  constructor({ on, table, bound }: HashOptions, { random }: SchedulerContext) {
    const hashOn = parseHashKey(on);
    if (hashOn === null) throw new Error(`nothing to hash on: ${on}`);
    this.hashOn = hashOn;
    this.#order = table === 'maglev' ? new Maglev() : new Rendezvous();
    this.#bound = bound === null ? null : new LoadBound(bound);
    this.#random = random;
  }

  update(set: EndpointSet): void {
    this.#order.update(set);
    this.#bound?.update(set);
  }

  pick(hash: number, tried: Tried): Endpoint | null {
    const order = this.#order;
    const bound = this.#bound;
    const key = hash !== 0 ? hash : 1 + Math.floor(this.#random() * HASHES);
    bound?.begin();
    const endpoint = order.first(key, tried, bound);
    if (endpoint !== null) return endpoint;
    // Only tried ones have room: rather over the bound than to one of those. Only tried ones are left: the key's own.
    if (bound !== null) {
      const beyond = order.first(key, tried, null);
      if (beyond !== null) return beyond;
    }
    return tried.size > 0 ? order.first(key, NOT_TRIED, null) : null;
  }
}

const options = z.object({
  on: z
    .string()
    .refine((text) => parseHashKey(text) !== null, {
      error: (issue) =>
        `${shown(issue.input)} is nothing to hash on; write header:NAME, cookie:NAME, query:NAME, path or client`,
    })
    .prefault('client')
    .describe('what decides: header:NAME, cookie:NAME, query:NAME, path or client (its address)'),
  table: z
    .enum(['rendezvous', 'maglev'])
    .prefault('rendezvous')
    .describe(
      'rendezvous moves no key that need not move, and looks at every endpoint for each request: best up to some hundred; maglev looks at one, and moves up to 1 % more',
    ),
  bound: orOff(z.number().min(1.01).max(100))
    .prefault('off')
    .describe(
      'most requests in flight of an endpoint, in times of its share; beyond, keys go to their next: e.g. 1.25',
    ),
});

type HashOptions = z.output<typeof options>;

export const hash: Kind<Scheduler, SchedulerContext> = {
  kind: 'hash',
  summary: 'the same endpoint for the same header, cookie, query parameter, path or client',
  options,
  create: (settings: HashOptions, context) => new HashScheduler(settings, context),
};
