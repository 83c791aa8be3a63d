import { endpointId, isUsable } from './clean-set.ts';
import type { RegistryEndpoint, RegistrySet, RegistryStatus, Suspicion } from './registry.ts';

export interface GuardOptions {
  /** How long endpoints that a suspicious answer left out stay in use. */
  readonly holdMs: number;
  /** Two answers that far apart must both leave an endpoint out before it goes. */
  readonly confirmMs: number;
}

export const GUARD_DEFAULTS: GuardOptions = { holdMs: 60_000, confirmMs: 10_000 };

/** What a pool should use now. */
export interface GuardVerdict {
  /** Sorted by address. Endpoints that are held have the status `unknown`. */
  readonly endpoints: readonly RegistryEndpoint[];
  /** Why this is not what the registry says; null when it is. */
  readonly heldReason: string | null;
}

/** From the first doubtful answer until it is confirmed. */
interface Doubt {
  /** Clock ms of the answer that began it. */
  readonly sinceMs: number;
  readonly cause: Suspicion;
  /** Clock ms of the latest answer. */
  readMs: number;
  /** Told of since; what is told of and then left out was taken out while we watched. */
  readonly seen: Set<string>;
  /** Told of as fit when the registry had had `confirmMs` to come to itself. */
  readonly settled: Set<string>;
  /** Seen, and left out before the registry had had that time. */
  readonly early: Set<string>;
}

/**
 * Decides what to believe when a registry says that endpoints are gone. Registries lie after a restart (empty, or filled again one by one),
 * after a lost connection and when they lost their leader; they tell the truth when one endpoint after the other goes while we watch.
 *
 * So presence is always believed at once, absence only without doubt. A suspicious answer, or one that empties a service of several endpoints at a
 * stroke, opens a time of doubt. While it lasts
 * - endpoints not told of since stay in use as `unknown`;
 * - so do endpoints told of as down that were fit before, until they have been told of as fit once the registry had `confirmMs` to come to itself:
 *   Consul comes back with what it knew, and marks checks critical a moment later, until the next heartbeat;
 * - what goes down later than that is believed as long as half of what was fit is left; what was told of and then left out is believed, in the
 *   first `confirmMs` under the same condition (a Consul agent that lost its data deregisters everything it does not know, one by one).
 * The doubt ends after `holdMs`, when answers at least `confirmMs` apart agree and the registry can be reached; then what it says is true.
 *
 * Pure: the time comes in with each call. Called by ServiceFeed, once per answer and when `dueMs` is over.
 */
export class SetGuard {
  readonly #options: GuardOptions;
  /** By ID: what is in use, as the registry described it last (with the status before the doubt where that is held). */
  #base = new Map<string, RegistryEndpoint>();
  /** IDs in the last answer; what is in use and not here is held. */
  #told = new Set<string>();
  #toldNow: readonly RegistryEndpoint[] = [];
  /** The list of the last answer, as it came. */
  #offered: readonly RegistryEndpoint[] | null = null;
  /** Generations as the registry tells them, for those that only the registry's restart changed, and what they were before. */
  #renamed = new Map<string, { readonly told: string; readonly before: string }>();
  #doubt: Doubt | null = null;
  /** The next answer is suspicious, whatever the registry says. */
  #lost = false;
  /** What is in use was not seen to come about: from disk. */
  #unwatched = false;

  constructor(options: GuardOptions = GUARD_DEFAULTS) {
    this.#options = options;
  }

  /** Starts from what an earlier process knew. */
  seed(endpoints: readonly RegistryEndpoint[]): void {
    this.#base = byId(endpoints);
    this.#told = new Set(this.#base.keys());
    this.#toldNow = endpoints;
    this.#unwatched = true;
  }

  /** The registry cannot be asked: nothing is confirmed meanwhile, and its next answer is suspicious. */
  lost(): void {
    this.#lost = true;
  }

  /** An answer, the same as before or another. `set.endpoints` is clean. */
  offer(set: RegistrySet, nowMs: number): GuardVerdict {
    const cause = set.suspicion ?? (this.#lost ? 'after-reconnect' : this.#isSuddenlyEmpty(set) ? 'emptied' : null);
    // The common case, some ten times a second with 500 services: a watch came back with nothing new.
    if (cause === null && this.#doubt === null && set.endpoints === this.#offered) return this.verdict(nowMs);
    this.#offered = set.endpoints;
    this.#lost = false;
    this.#unwatched = false;
    // A doubt about an empty set is one doubt, however often the emptiness is told.
    if (cause !== null && !(cause === 'emptied' && this.#doubt !== null && this.#told.size === 0))
      this.#doubt = { sinceMs: nowMs, cause, readMs: nowMs, seen: new Set(), settled: new Set(), early: new Set() };
    if (this.#doubt !== null) this.#doubt.readMs = nowMs;
    this.#take(set.endpoints);
    return this.verdict(nowMs);
  }

  /** What to use now. Ends the doubt when it is time. */
  verdict(nowMs: number): GuardVerdict {
    const doubt = this.#doubt;
    if (doubt === null) return { endpoints: this.#toldNow, heldReason: null };
    if (this.#isOver(doubt, nowMs)) {
      this.#doubt = null;
      this.#base = byId(this.#toldNow);
      return { endpoints: this.#toldNow, heldReason: null };
    }
    return this.#merged(doubt);
  }

  /** Clock ms at which to call again, and whether to ask the registry anew then; null when there is no doubt. */
  due(nowMs: number): { readonly atMs: number; readonly ask: boolean } | null {
    const doubt = this.#doubt;
    if (doubt === null || this.#lost) return null;
    const end = doubt.sinceMs + this.#options.holdMs;
    const confirmed = doubt.readMs >= doubt.sinceMs + this.#options.confirmMs;
    if (!confirmed) return { atMs: Math.max(nowMs, Math.min(end, doubt.sinceMs + this.#options.confirmMs)), ask: true };
    return { atMs: Math.max(nowMs, end), ask: false };
  }

  #isSuddenlyEmpty(set: RegistrySet): boolean {
    if (set.endpoints.length > 0) return false;
    // The last endpoint of a service goes like any other, if we saw the others go.
    return this.#told.size >= (this.#unwatched ? 1 : 2);
  }

  #take(endpoints: readonly RegistryEndpoint[]): void {
    const doubt = this.#doubt;
    const next = new Map<string, RegistryEndpoint>();
    const told = new Set<string>();
    this.#toldNow = endpoints.map((endpoint) => {
      const id = endpointId(endpoint);
      told.add(id);
      const known = this.#sameProcess(id, endpoint);
      next.set(id, known);
      return known;
    });
    if (doubt !== null) this.#compare(doubt, next, told);
    this.#base = next;
    this.#told = told;
    for (const id of this.#renamed.keys()) if (!next.has(id)) this.#renamed.delete(id);
  }

  /** Keeps beside the answer what was before it: only against that can be judged how much doubtful answers take away. */
  #compare(doubt: Doubt, next: Map<string, RegistryEndpoint>, told: ReadonlySet<string>): void {
    const isEarly = doubt.readMs < doubt.sinceMs + this.#options.confirmMs;
    // Those that left early and were few are gone for good: what happens later must not bring them back.
    const forgets = !isEarly && doubt.early.size > 0 && !this.#takesMost(doubt, next);
    for (const [id, before] of this.#base) {
      const now = next.get(id);
      if (now !== undefined) {
        if (now.status === 'down' && isUsable(before.status)) next.set(id, { ...now, status: before.status });
        continue;
      }
      if (doubt.seen.has(id) && isEarly) doubt.early.add(id);
      if (!doubt.seen.has(id) || (doubt.early.has(id) && !forgets)) next.set(id, before);
    }
    if (forgets) doubt.early.clear();
    for (const endpoint of this.#toldNow)
      if (!isEarly && isUsable(endpoint.status)) doubt.settled.add(endpointId(endpoint));
    for (const id of told) {
      doubt.seen.add(id);
      doubt.early.delete(id);
    }
  }

  /** A registry that lost its data numbers everything anew when it is told again; the process behind the address is the same. */
  #sameProcess(id: string, endpoint: RegistryEndpoint): RegistryEndpoint {
    const before = this.#base.get(id);
    const doubt = this.#doubt;
    if (before !== undefined && doubt !== null && !doubt.seen.has(id) && before.generation !== endpoint.generation)
      this.#renamed.set(id, { told: endpoint.generation, before: before.generation });
    const renamed = this.#renamed.get(id);
    return renamed?.told === endpoint.generation ? { ...endpoint, generation: renamed.before } : endpoint;
  }

  #isOver(doubt: Doubt, nowMs: number): boolean {
    if (this.#lost || nowMs < doubt.sinceMs + this.#options.holdMs) return false;
    return doubt.readMs >= doubt.sinceMs + this.#options.confirmMs;
  }

  #merged(doubt: Doubt): GuardVerdict {
    const toldNow = byId(this.#toldNow);
    const isMass = this.#takesMost(doubt, toldNow);
    let absent = 0;
    let down = 0;
    const endpoints: RegistryEndpoint[] = [];
    for (const [id, endpoint] of this.#base) {
      const now = toldNow.get(id);
      if (now === undefined) {
        if (doubt.early.has(id) && !isMass) continue;
        absent++;
        endpoints.push({ ...endpoint, status: heldStatus(endpoint.status) });
      } else if (now.status === 'down' && isUsable(endpoint.status) && (isMass || !doubt.settled.has(id))) {
        down++;
        endpoints.push({ ...now, status: 'unknown' });
      } else endpoints.push(now);
    }
    if (absent + down === 0) return { endpoints: this.#toldNow, heldReason: null };
    endpoints.sort((a, b) => (endpointId(a) < endpointId(b) ? -1 : 1));
    return { endpoints, heldReason: heldReason(doubt.cause, absent, down, endpoints.length) };
  }

  /** Whether less than half of what was fit would be left if all were believed that can be. */
  #takesMost(doubt: Doubt, toldNow: ReadonlyMap<string, RegistryEndpoint>): boolean {
    let before = 0;
    let left = 0;
    for (const [id, endpoint] of this.#base) {
      if (!isUsable(endpoint.status)) continue;
      before++;
      const now = toldNow.get(id);
      if (now === undefined ? !doubt.early.has(id) : isUsable(now.status) || !doubt.settled.has(id)) left++;
    }
    return left * 2 < before;
  }
}

const CAUSES: Readonly<Record<Suspicion, string>> = {
  'after-reconnect': 'the registry was lost and is back',
  'index-reset': "the registry's index went backwards",
  'stale-server': 'the registry has lost its leader',
  emptied: 'the registry dropped every endpoint at once',
};

function heldReason(cause: Suspicion, absent: number, down: number, total: number): string {
  const parts: string[] = [];
  if (absent > 0) parts.push(`${absent} of ${total} endpoints not told of since`);
  if (down > 0) parts.push(`${down} of ${total} told of as down at once`);
  return `${CAUSES[cause]}: ${parts.join(', ')}; kept until that is confirmed`;
}

function heldStatus(status: RegistryStatus): RegistryStatus {
  return status === 'up' || status === 'warning' ? 'unknown' : status;
}

function byId(endpoints: readonly RegistryEndpoint[]): Map<string, RegistryEndpoint> {
  return new Map(endpoints.map((endpoint) => [endpointId(endpoint), endpoint]));
}
